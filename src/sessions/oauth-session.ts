// The record behind a session: what the database said of it, which the application does not see.
import { bindGrant } from '../grants/session-grant.js';
import type { OAuthProfile } from '../options/login.js';
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

/** A record, and when this process got it. */
interface Known {
  readonly record: SessionRecord;
  /** Monotonic milliseconds. */
  readonly asOf: number;
}

const records = new WeakMap<OAuthSession, Known>();

/** The session for the application. The record stays reachable by {@link recordOf} only. */
export function sessionOf(record: SessionRecord, asOf = performance.now()): OAuthSession {
  const session: OAuthSession = {
    id: record.id,
    user: { id: record.user_id, provider: record.provider, subject: record.subject, profile: record.profile },
    provider: record.provider,
    scope: record.scope ?? [],
    createdAt: record.created_at,
    expiresAt: record.expires_at,
    authTime: record.auth_time,
    acr: record.acr,
    amr: record.amr,
  };
  records.set(session, { record, asOf });
  bindGrant(
    session,
    record.grant_id === null ? null : { grantId: record.grant_id, version: record.grant_version ?? 0 },
  );
  return session;
}

/** The record behind a session that we made; undefined for a copy of one. */
export function recordOf(session: OAuthSession): SessionRecord | undefined {
  return records.get(session)?.record;
}

/** The time by the database clock, as far as this process can tell from the session's lookup. Milliseconds since the epoch. */
export function databaseTimeOf(session: OAuthSession): number {
  const known = records.get(session);
  return known ? known.record.checked_at.getTime() + performance.now() - known.asOf : Date.now();
}
