// The FAPI 2.0 Security Profile: what it demands of a provider, checked before anything is sent to it.
import type * as client from 'openid-client';
import type { ResolvedProvider } from '../options/resolve-provider.js';
import { ProviderError } from './provider-fault.js';

/**
 * Refuses a provider whose metadata says that it cannot meet the profile.
 * @throws {ProviderError} `invalid_metadata`, naming everything that is missing
 * @see FAPI 2.0 Security Profile (Final) §5.3.2
 */
export function assertFapi2(metadata: client.ServerMetadata, definition: ResolvedProvider): void {
  const lacks: string[] = [];
  const lists = (list: unknown, ...wanted: string[]) =>
    Array.isArray(list) && wanted.some((item) => list.includes(item));
  if (metadata.pushed_authorization_request_endpoint === undefined) lacks.push('pushed authorization requests');
  if (metadata.authorization_response_iss_parameter_supported !== true && definition.responseMode !== 'jwt')
    lacks.push('"iss" in authorization responses (RFC 9207)');
  if (!lists(metadata.code_challenge_methods_supported, 'S256')) lacks.push('PKCE with S256');
  const method = definition.clientAuthentication ?? 'private_key_jwt';
  const methods = metadata.token_endpoint_auth_methods_supported;
  if (methods !== undefined && !lists(methods, method)) lacks.push(method);
  if (definition.dpop && !lists(metadata.dpop_signing_alg_values_supported, 'ES256')) lacks.push('DPoP with ES256');
  if (
    definition.kind === 'oidc' &&
    !lists(metadata.id_token_signing_alg_values_supported, 'PS256', 'ES256', 'EdDSA', 'Ed25519')
  )
    lacks.push('ID tokens signed with PS256, ES256 or EdDSA');
  if (lacks.length > 0) {
    throw new ProviderError('invalid_metadata', {
      provider: definition.name,
      cause: new Error(`security: 'fapi2' needs what the metadata does not offer: ${lacks.join('; ')}`),
    });
  }
}
