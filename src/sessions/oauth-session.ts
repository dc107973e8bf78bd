// The record behind a session: what the database said of it, which the application does not see.
import { GrantBearer } from '../grants/session-grant.js';
import type { OAuthProfile, OAuthUser } from '../options/login.js';
import type { OAuthSession } from '../options/session.js';

/** A looked-up session row with its account and grant. */
export interface SessionRecord {
  readonly id: string;
  readonly token_hash: Buffer;
  readonly user_id: string;
  readonly account_id: string;
  readonly grant_id: string | null;
  readonly provider: string;
  readonly sid: string | null;
  readonly auth_time: Date | null;
  readonly acr: string | null;
  readonly amr: string[] | null;
  readonly created_at: Date;
  readonly last_seen_at: Date;
  readonly idle_expires_at: Date;
  readonly expires_at: Date;
  readonly issuer: string;
  readonly subject: string;
  readonly profile: OAuthProfile;
  readonly scope: string[] | null;
  readonly grant_version: number | null;
  readonly grant_status: string | null;
  /** Database time of this lookup. */
  readonly checked_at: Date;
}

/** A record, and when this process asked for it. */
export interface FoundSession {
  readonly record: SessionRecord;
  /** Monotonic milliseconds. */
  readonly asOf: number;
}

/** A session as the application gets it; its record is carried unseen, and a copy does not have it. */
class LiveSession extends GrantBearer implements OAuthSession {
  readonly id: string;
  readonly user: OAuthUser;
  readonly provider: string;
  readonly scope: readonly string[];
  readonly createdAt: Date;
  readonly expiresAt: Date;
  readonly authTime: Date | null;
  readonly acr: string | null;
  readonly amr: readonly string[] | null;
  readonly #found: FoundSession;

  constructor(found: FoundSession) {
    const { record } = found;
    super(record);
    this.#found = found;
    this.id = record.id;
    this.user = {
      id: record.user_id,
      provider: record.provider,
      subject: record.subject,
      profile: record.profile,
    };
    this.provider = record.provider;
    this.scope = record.scope ?? [];
    this.createdAt = record.created_at;
    this.expiresAt = record.expires_at;
    this.authTime = record.auth_time;
    this.acr = record.acr;
    this.amr = record.amr;
  }

  static foundOf(session: object): FoundSession | undefined {
    return #found in session ? session.#found : undefined;
  }
}

/** The session for the application. The record stays reachable by {@link recordOf} only. */
export function sessionOf(found: FoundSession): OAuthSession {
  return new LiveSession(found);
}

/** The record behind a session that we made; undefined for a copy of one. */
export function recordOf(session: OAuthSession): SessionRecord | undefined {
  return LiveSession.foundOf(session)?.record;
}

/** The time by the database clock, as far as this process can tell from the session's lookup. Milliseconds since the epoch. */
export function databaseTimeOf(session: OAuthSession): number {
  const found = LiveSession.foundOf(session);
  return found ? databaseNow(found) : Date.now();
}

/** The time by the database clock, counted on from a lookup. Milliseconds since the epoch. */
export function databaseNow({ record, asOf }: FoundSession): number {
  return record.checked_at.getTime() + performance.now() - asOf;
}

const EMPTY = Buffer.alloc(0);
const texts = new Map<string, string>();

/** A copy that is fit to be kept: pg's buffers hold on to whole network packets, and most texts are the same in many rows. */
export function compacted(record: SessionRecord): SessionRecord {
  return {
    ...record,
    token_hash: EMPTY,
    provider: shared(record.provider),
    issuer: shared(record.issuer),
    scope: record.scope?.map(shared) ?? null,
  };
}

function shared(text: string): string {
  const known = texts.get(text);
  if (known !== undefined) return known;
  if (texts.size < 1_000) texts.set(text, text);
  return text;
}
