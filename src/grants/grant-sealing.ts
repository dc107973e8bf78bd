// Where sealed values of grants belong. An account-bound grant may exist already when its tokens are sealed, under an
// id that we do not know yet: its context is the identity instead.
import type { SealContext } from '../crypto/sealing.js';

/** What names the owner of a grant's secrets. */
export interface GrantOwner {
  readonly provider: string;
  readonly issuer: string;
  readonly subject: string;
  /** Id of a session-bound grant; null for an account-bound one. */
  readonly sessionGrantId: string | null;
}

/** Context of `oauth_grants.refresh_token`. */
export function refreshTokenContext(owner: GrantOwner): SealContext {
  return ['oauth_grants', 'refresh_token', ...ownerKey(owner)];
}

/** Context of `oauth_grants.dpop_key`. */
export function dpopKeyContext(owner: GrantOwner): SealContext {
  return ['oauth_grants', 'dpop_key', ...ownerKey(owner)];
}

/** Context of `oauth_access_tokens.token`. @param audience the row's audience key */
export function accessTokenContext(owner: GrantOwner, audience: string): SealContext {
  return ['oauth_access_tokens', 'token', ...ownerKey(owner), audience];
}

/** Context of `oauth_access_tokens.dpop_key`. @param audience the row's audience key */
export function accessKeyContext(owner: GrantOwner, audience: string): SealContext {
  return ['oauth_access_tokens', 'dpop_key', ...ownerKey(owner), audience];
}

/** Context of `oauth_sessions.id_token`. */
export function idTokenContext(sessionId: string): SealContext {
  return ['oauth_sessions', 'id_token', sessionId];
}

/** Context of `oauth_revocations.token`, for what is sealed for the outbox. */
export function revocationContext(id: string): SealContext {
  return ['oauth_revocations', 'token', id];
}

/** A row of the outbox, as far as it decides what its token may be sealed for. */
export interface RevocationOwner {
  readonly id: string;
  readonly provider: string;
  readonly issuer: string;
  readonly subject: string;
  readonly hint: 'access_token' | 'refresh_token';
}

/**
 * Everything that `oauth_revocations.token` may be sealed for. A grant that ends hands its ciphertext over as it is, so
 * that logging out needs no key: then it is sealed for the grant of this identity, or for the session-bound grant whose
 * id the row has taken over.
 */
export function revocationContexts(row: RevocationOwner): SealContext[] {
  const { provider, issuer, subject } = row;
  const owners: GrantOwner[] = [null, row.id].map((sessionGrantId) => ({ provider, issuer, subject, sessionGrantId }));
  const ofGrant = (owner: GrantOwner): SealContext =>
    row.hint === 'refresh_token' ? refreshTokenContext(owner) : accessTokenContext(owner, '');
  return [revocationContext(row.id), ...owners.map(ofGrant)];
}

function ownerKey({ provider, issuer, subject, sessionGrantId }: GrantOwner): string[] {
  return sessionGrantId === null ? ['account', provider, issuer, subject] : ['session', sessionGrantId];
}
