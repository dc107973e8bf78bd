// Who somebody is, out of all that a provider says: the signed ID token first, then userinfo (OIDC Core §5.3), or the
// provider's own `profile` function.
import * as client from 'openid-client';
import { OAuthError } from '../errors/oauth-error.js';
import type { ProfileContext, ProviderProfile } from '../options/provider-options.js';
import type { ResolvedProvider } from '../options/resolve-provider.js';
import { authTimeOf, checkedSubject, claimDate, claimText, type Identity, isSid, mapProfile } from './identity.js';
import type { Issued } from './issued.js';
import type { ProviderApi } from './provider-api.js';
import type { ProviderConnection } from './provider-connection.js';
import { outline, ProviderError } from './provider-fault.js';
import type { TokenSet } from './token-set.js';

/**
 * Who tokens are about: ID token and userinfo (OIDC), else the `profile` function of the provider.
 * @throws {ProviderError} `invalid_userinfo` and what the requests fail with
 */
export async function identify(
  { connection, api }: { connection: ProviderConnection; api: ProviderApi },
  { tokens, claims, dpopKey }: Issued,
): Promise<Identity> {
  const { definition } = connection;
  const idClaims = claims ?? {};
  const subject = definition.kind === 'oidc' ? checkedSubject(idClaims.sub, definition.name) : null;
  const userinfo =
    subject !== null && definition.userinfo !== false
      ? await userinfoOf(connection, { tokens, subject, dpopKey })
      : null;
  // The ID token wins over userinfo where both speak: it is signed and bound to this login.
  const merged: Record<string, unknown> = { ...userinfo, ...idClaims };
  // It has served, and claims end up in logs of applications.
  delete merged.nonce;
  const described: ProviderProfile | null = definition.profile
    ? await describe(definition, api.profileContext(tokens, { claims: idClaims, userinfo }, dpopKey))
    : null;
  const sessionExpiry = claimDate(idClaims.session_expiry);
  return {
    issuer: definition.issuer,
    subject: subject ?? checkedSubject(described?.subject ?? described?.sub ?? described?.id, definition.name),
    profile: mapProfile(described ?? merged),
    claims: described?.raw ?? (definition.kind === 'oidc' ? merged : { ...described }),
    // Unusable, it counts as not given, as other claims that may be missing. The session ends by its subject then, and a
    // logout that names this `sid` is refused: the provider is not told that anything ended.
    sid: isSid(idClaims.sid) ? idClaims.sid : null,
    authTime: authTimeOf(idClaims.auth_time),
    acr: claimText(idClaims.acr),
    amr: Array.isArray(idClaims.amr) ? idClaims.amr.map(claimText).filter((item) => item !== null) : null,
    idTokenExpiresAt: claimDate(idClaims.exp),
    sessionExpiry,
  };
}

/** Runs the provider's `profile` function, which stumbles over answers it did not expect. */
async function describe(definition: ResolvedProvider, context: ProfileContext): Promise<ProviderProfile> {
  try {
    return await definition.profile!(context);
  } catch (error) {
    // A wrong address is a mistake of the configuration, and nothing for the person at the browser.
    if (error instanceof OAuthError && error.code === 'origin_not_allowed') {
      throw new OAuthError('server_error', { provider: definition.name, cause: new Error(error.message) });
    }
    if (error instanceof OAuthError) throw error;
    throw new ProviderError('invalid_userinfo', { provider: definition.name, cause: outline(error) });
  }
}

async function userinfoOf(
  connection: ProviderConnection,
  { tokens, subject, dpopKey }: { tokens: TokenSet; subject: string; dpopKey: string | undefined },
): Promise<Record<string, unknown> | null> {
  return connection.call('invalid_userinfo', {}, async ({ config, metadata }) => {
    if (metadata.userinfo_endpoint === undefined) return null;
    const proof = await connection.dpop(config, dpopKey);
    return { ...(await client.fetchUserInfo(config, tokens.accessToken, subject, proof)) };
  });
}
