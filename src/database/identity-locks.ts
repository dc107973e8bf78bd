// The advisory locks of identities, in the one order in which everybody takes them: two who want the same never wait for
// each other.
import { lockKey } from '../crypto/digest.js';
import type { Queryable } from './queryable.js';

/** Whose sessions or grants a transaction creates, moves or ends. */
export interface LockedIdentity {
  readonly issuer: string;
  readonly subject: string;
  /** Of a session at the provider; null where it has none. */
  readonly sid: string | null;
}

/** Keys of all (issuer, sid), then of all (issuer, subject), each once and in their order. */
export function identityLocks(...identities: readonly LockedIdentity[]): bigint[] {
  const sids = identities.flatMap(({ issuer, sid }) => (sid === null ? [] : [lockKey('sid', issuer, sid)]));
  const subjects = identities.map(({ issuer, subject }) => lockKey('sub', issuer, subject));
  return [...inOrder(sids), ...inOrder(subjects)];
}

/** Takes those that are known only within a transaction. What judges under them is a statement after this one. */
export async function lockIdentities(tx: Queryable, identities: readonly LockedIdentity[]): Promise<void> {
  for (const key of identityLocks(...identities)) await tx.query('select pg_advisory_xact_lock($1::bigint)', [key]);
}

function inOrder(keys: readonly bigint[]): bigint[] {
  return [...new Set(keys)].sort((one, other) => (one < other ? -1 : 1));
}
