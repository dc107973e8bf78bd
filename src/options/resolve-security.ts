// PAR, DPoP and signed requests as configured, or as a security profile demands.
import type { Problems } from './problems.js';
import type { ProviderDefinition } from './provider-options.js';

/** What the options about security come to. */
export interface ResolvedSecurity {
  /** Undefined: where the metadata requires it. */
  readonly par?: boolean;
  readonly dpop: boolean;
  readonly signedRequest: boolean;
  readonly security?: 'fapi2';
}

/** Checks the options about security against each other and fills in what the profile asks for. */
export function resolveSecurity(definition: ProviderDefinition, problems: Problems): ResolvedSecurity {
  const at = (key: string) => problems.at(key);
  const security = at('security').oneOf(definition.security, ['fapi2'], undefined);
  const par = at('par').boolean(definition.par, undefined);
  const signedRequest = at('signedRequest').boolean(definition.signedRequest, false);
  if (signedRequest && definition.clientPrivateKey === undefined)
    at('clientPrivateKey').add('signedRequest needs a private JWK');
  if (definition.kind === 'oidc' && definition.idTokenSignedResponseAlg === 'HS256' && !definition.clientSecret)
    at('idTokenSignedResponseAlg').add('HS256 needs a clientSecret');
  const method = definition.clientAuthentication;
  const certificate = method?.endsWith('tls_client_auth') === true;
  if (certificate && definition.tls?.cert === undefined && definition.dispatcher === undefined)
    at('tls').add(`${method} needs a client certificate: { cert, key }`);
  const dpop = at('dpop').boolean(definition.dpop, security === 'fapi2' && !certificate);
  if (security === 'fapi2') {
    if (definition.kind !== 'oidc') at('security').add(`'fapi2' needs a provider found by its issuer: oidc()`);
    if (par === false) at('par').add(`security: 'fapi2' demands pushed requests`);
    if (!dpop && !certificate) at('dpop').add(`security: 'fapi2' demands sender-constrained tokens`);
    if (!certificate && method !== 'private_key_jwt' && !(method === undefined && definition.clientPrivateKey))
      at('clientAuthentication').add(`security: 'fapi2' demands 'private_key_jwt' or 'tls_client_auth'`);
    if (definition.kind === 'oidc' && /^(RS|HS)/.test(definition.idTokenSignedResponseAlg ?? ''))
      at('idTokenSignedResponseAlg').add(`security: 'fapi2' allows PS256, ES256 and EdDSA only`);
  }
  return {
    dpop,
    signedRequest,
    ...(security === undefined ? {} : { security }),
    ...(par === undefined && security === undefined ? {} : { par: par ?? true }),
  };
}
