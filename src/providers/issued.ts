// What the token endpoint issued, judged as a whole: signature checked, binding as asked for (RFC 6749 §5.1, RFC 9449 §5).
import type * as client from 'openid-client';
import type { ResolvedProvider } from '../options/resolve-provider.js';
import type { ProviderCall } from './provider-call.js';
import { ProviderError } from './provider-fault.js';
import { assertBinding } from './token-binding.js';
import { LIFETIME, regularLifetime, scopeList } from './token-response.js';
import { TokenSet } from './token-set.js';

/** A validated answer of the token endpoint: the tokens, and the claims of the ID token if there was one. */
export interface Issued {
  tokens: TokenSet;
  claims: Readonly<Record<string, unknown>> | null;
  /** The key that the tokens are bound to. */
  dpopKey?: string;
}

/**
 * Reads an answer that the protocol library has accepted, within the call that it answers.
 * @param asked.scope what counts as granted where the answer names no scope
 * @throws {ProviderError} `invalid_id_token`, `invalid_token_response`
 */
export async function issuedBy(
  { definition, call }: { definition: ResolvedProvider; call: ProviderCall },
  answer: Awaited<ReturnType<typeof client.refreshTokenGrant>>,
  { scope, dpopKey }: { scope: readonly string[]; dpopKey: string | undefined },
): Promise<Issued> {
  const { name: provider, defaultExpiresIn, refreshTokenLifetime } = definition;
  const tokens = new TokenSet({
    accessToken: answer.access_token,
    tokenType: answer.token_type === 'dpop' ? 'DPoP' : 'Bearer',
    expiresIn: (answer[LIFETIME] as number | undefined) ?? defaultExpiresIn ?? null,
    refreshToken: answer.refresh_token ?? null,
    idToken: answer.id_token ?? null,
    scope: scopeList(answer.scope) ?? scope,
    refreshExpiresIn:
      regularLifetime(answer.refresh_token_expires_in ?? answer.refresh_expires_in) ?? refreshTokenLifetime ?? null,
  });
  if (tokens.idToken !== null && call.verified !== tokens.idToken)
    throw new ProviderError('invalid_id_token', { provider, cause: new Error('unverified signature') });
  await assertBinding({ provider, tokenType: tokens.tokenType, accessToken: tokens.accessToken, dpopKey });
  const claims = (answer.claims() as Record<string, unknown> | undefined) ?? null;
  return { tokens, claims, ...(dpopKey === undefined ? {} : { dpopKey }) };
}
