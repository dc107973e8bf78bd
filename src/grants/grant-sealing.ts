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

/** Context of `oauth_revocations.token`. */
export function revocationContext(id: string): SealContext {
  return ['oauth_revocations', 'token', id];
}

function ownerKey({ provider, issuer, subject, sessionGrantId }: GrantOwner): string[] {
  return sessionGrantId === null ? ['account', provider, issuer, subject] : ['session', sessionGrantId];
}
