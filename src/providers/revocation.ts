// Revoking a token: RFC 7009 where the provider has an endpoint for it, GitHub's own API for GitHub.
import * as client from 'openid-client';
import type { ResolvedProvider } from '../options/resolve-provider.js';
import { requestProvider } from './http-door.js';
import { ProviderError } from './provider-fault.js';

/** Where and as whom to revoke. */
export interface RevocationTarget {
  definition: ResolvedProvider;
  config: client.Configuration;
  metadata: client.ServerMetadata;
}

/**
 * True where access tokens alone can be revoked. GitHub deletes a GitHub App's access token (`ghu_…`) by its API; an
 * application has no way to end the refresh token (`ghr_…`) by itself: one that is left is used by nobody, and lapses
 * after six months.
 */
export function revokesAccessTokens(definition: Pick<ResolvedProvider, 'quirks'>): boolean {
  return definition.quirks?.revoke === 'github';
}

/**
 * Revokes one token. Unknown tokens count as revoked (RFC 7009 §2.2).
 * @returns false when the provider offers no way, for any token or for those of this type (§2.2.1)
 */
export async function revokeToken(
  { definition, config, metadata }: RevocationTarget,
  token: string,
  hint: 'access_token' | 'refresh_token',
): Promise<boolean> {
  // GitHub would say 422 to a refresh token, as to any token that it does not know: that is no revocation.
  if (revokesAccessTokens(definition)) return hint === 'access_token' && (await revokeAtGitHub(definition, token));
  if (metadata.revocation_endpoint === undefined) return false;
  try {
    await client.tokenRevocation(config, token, { token_type_hint: hint });
  } catch (error) {
    if (error instanceof client.ResponseBodyError && error.error === 'unsupported_token_type') return false;
    throw error;
  }
  return true;
}

/** `DELETE /applications/{client_id}/token`, authenticated as the application. */
async function revokeAtGitHub(definition: ResolvedProvider, token: string): Promise<boolean> {
  if (definition.revocationEndpoint === undefined) return false;
  const credentials = Buffer.from(`${definition.clientId}:${definition.clientSecret ?? ''}`).toString('base64');
  const answer = await requestProvider({
    url: definition.revocationEndpoint,
    method: 'DELETE',
    provider: definition.name,
    timeout: definition.timeout,
    dispatcher: definition.dispatcher,
    headers: {
      authorization: `Basic ${credentials}`,
      accept: 'application/vnd.github+json',
      'content-type': 'application/json',
      'user-agent': 'nest-oauth-client',
    },
    body: JSON.stringify({ access_token: token }),
  });
  if (answer.status === 204 || answer.status === 404 || answer.status === 422) return true;
  throw new ProviderError('provider_error', {
    provider: definition.name,
    httpStatus: answer.status,
    cause: new Error(`revocation answered with status ${answer.status}`),
  });
}
