// The record behind a session: what the database said of it, which the application does not see.
import { GrantBearer } from '../grants/session-grant.js';
import type { OAuthUser } from '../options/login.js';
import type { OAuthSession } from '../options/session.js';
import { databaseNow, type FoundSession, type SessionRecord } from './session-record.js';

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
      // Copies: one record serves several requests, and what a handler changes must stay in its own.
      profile: { ...record.profile },
    };
    this.provider = record.provider;
    this.scope = record.scope ? [...record.scope] : [];
    this.createdAt = new Date(record.created_at);
    this.expiresAt = new Date(record.expires_at);
    this.authTime = record.auth_time === null ? null : new Date(record.auth_time);
    this.acr = record.acr;
    this.amr = record.amr && [...record.amr];
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
