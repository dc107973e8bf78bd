// What one lookup said of a session, its account and its grant. Times are milliseconds since the epoch by the database
// clock: a Date costs seven times the memory, and most are never asked for.
import type { OAuthProfile } from '../options/login.js';

/** A looked-up session row with its account and grant. */
export interface SessionRecord {
  readonly id: string;
  readonly user_id: string;
  readonly account_id: string;
  readonly grant_id: string | null;
  readonly provider: string;
  readonly sid: string | null;
  readonly auth_time: number | null;
  readonly acr: string | null;
  readonly amr: readonly string[] | null;
  readonly created_at: number;
  readonly last_seen_at: number;
  readonly idle_expires_at: number;
  readonly expires_at: number;
  readonly issuer: string;
  readonly subject: string;
  readonly profile: OAuthProfile;
  readonly scope: readonly string[] | null;
  readonly grant_version: number | null;
}

/** The members of a record in the order in which the lookup selects them, the hash of the cookie (base64) before them, the time and the version after. */
export type SessionRow = readonly [
  hash: string,
  id: string,
  userId: string,
  accountId: string,
  grantId: string | null,
  provider: string,
  sid: string | null,
  authTime: number | null,
  acr: string | null,
  amr: string[] | null,
  createdAt: number,
  lastSeenAt: number,
  idleExpiresAt: number,
  expiresAt: number,
  issuer: string,
  subject: string,
  profile: OAuthProfile,
  scope: string[] | null,
  grantVersion: number | null,
  checkedAt: number,
  version: string,
];

/** A record, and the clock by which it is judged. */
export interface FoundSession {
  readonly record: SessionRecord;
  /** Which versions of the session's row and of its grant's this is; empty in the coherent cache, which is told of changes. */
  version: string;
  /** What to add to the monotonic clock to have the database's, milliseconds: never behind it. */
  clock: number;
  /** When the session was last seen, by the database clock: as its row said, or noted here since. */
  seenAt: number;
}

/** What a row says. Texts that are the same in many rows are kept once. @param asOf when it was asked for, monotonic milliseconds */
export function foundIn(row: SessionRow, asOf: number): FoundSession {
  const [, id, userId, accountId] = row;
  const record = {
    id,
    user_id: userId === accountId ? accountId : userId,
    account_id: accountId,
    grant_id: row[4],
    provider: shared(row[5]),
    sid: row[6],
    auth_time: row[7],
    acr: row[8],
    amr: row[9],
    created_at: row[10],
    last_seen_at: row[11],
    idle_expires_at: row[12],
    expires_at: row[13],
    issuer: shared(row[14]),
    subject: row[15],
    profile: row[16],
    scope: row[17]?.map(shared) ?? null,
    grant_version: row[18],
  };
  return { record, version: row[20], clock: row[19] - asOf, seenAt: record.last_seen_at };
}

/**
 * Takes a version of the session's row that differs in nothing but its touch for the one that was read. Where somebody else
 * had changed the row before, nothing is taken for anything, and the session is read again.
 */
export function takeTouched(found: FoundSession, { before, after }: { before: string; after: string }): void {
  if (found.version.startsWith(`${before} `)) found.version = after + found.version.slice(before.length);
}

/** The time by the database clock, counted on from a lookup. Milliseconds since the epoch. */
export function databaseNow(found: FoundSession): number {
  return performance.now() + found.clock;
}

const texts = new Map<string, string>();

function shared(text: string): string {
  const known = texts.get(text);
  if (known !== undefined) return known;
  if (texts.size < 1_000) texts.set(text, text);
  return text;
}
