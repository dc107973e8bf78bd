// The metadata document (OpenID Connect Discovery 1.0, RFC 8414) and the key set.
import { json, type Answer } from './answer.js';
import type { ProviderCore } from './core.js';
import type { LoggedRequest } from './request-log.js';
import { PUBLISHED_ALGORITHMS } from './signing-keys.js';

/** Answers with the metadata, as far as it is not overridden. */
export function discoveryEndpoint(core: ProviderCore, request: LoggedRequest): Answer {
  const body = withoutUndefined({ ...metadata(core), ...core.behaviour.metadata });
  return json(core.tampers.apply('metadata', body, { request }));
}

/** Answers with the public keys. */
export function jwksEndpoint(core: ProviderCore, request: LoggedRequest): Answer {
  return json(core.tampers.apply('jwks', core.keys.jwks(), { request }));
}

function metadata(core: ProviderCore): Record<string, unknown> {
  const { behaviour } = core;
  const algorithms = [...new Set<string>([...PUBLISHED_ALGORITHMS, behaviour.idTokenAlg])];
  const general = {
    issuer: core.issuer,
    authorization_endpoint: core.address('authorize'),
    token_endpoint: core.address('token'),
    revocation_endpoint: core.address('revoke'),
    pushed_authorization_request_endpoint: core.address('par'),
    require_pushed_authorization_requests: behaviour.requirePar,
    response_types_supported: ['code'],
    response_modes_supported: ['query', 'fragment', 'form_post', 'jwt', 'query.jwt', 'fragment.jwt', 'form_post.jwt'],
    grant_types_supported: ['authorization_code', 'refresh_token'],
    code_challenge_methods_supported: ['S256'],
    scopes_supported: ['openid', 'profile', 'email', 'offline_access'],
    token_endpoint_auth_methods_supported: [
      'client_secret_basic',
      'client_secret_post',
      'client_secret_jwt',
      'private_key_jwt',
      'none',
    ],
    token_endpoint_auth_signing_alg_values_supported: ['RS256', 'PS256', 'ES256', 'EdDSA', 'Ed25519', 'HS256'],
    authorization_response_iss_parameter_supported: behaviour.responseIss !== false,
    authorization_signing_alg_values_supported: algorithms,
    dpop_signing_alg_values_supported: ['ES256', 'EdDSA', 'Ed25519', 'PS256', 'RS256'],
    request_parameter_supported: true,
    request_uri_parameter_supported: false,
    require_signed_request_object: behaviour.requireSignedRequestObject,
    request_object_signing_alg_values_supported: ['RS256', 'PS256', 'ES256', 'EdDSA', 'Ed25519'],
    jwks_uri: core.address('jwks'),
  };
  if (!behaviour.oidc) return general;
  return {
    ...general,
    userinfo_endpoint: core.address('userinfo'),
    end_session_endpoint: core.address('end_session'),
    subject_types_supported: ['public'],
    id_token_signing_alg_values_supported: algorithms,
    userinfo_signing_alg_values_supported: behaviour.userinfoFormat === 'jwt' ? algorithms : undefined,
    claims_supported: ['sub', 'name', 'email', 'email_verified', 'auth_time', 'acr', 'amr', 'sid'],
    claims_parameter_supported: true,
    acr_values_supported: ['1', '2'],
    prompt_values_supported: ['none', 'login', 'consent', 'select_account'],
    backchannel_logout_supported: true,
    backchannel_logout_session_supported: true,
    frontchannel_logout_supported: true,
    frontchannel_logout_session_supported: true,
  };
}

function withoutUndefined(body: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(body).filter(([, value]) => value !== undefined));
}
