// Checks one provider definition and fills in its defaults. The result is frozen; nobody reads the raw definition again.
import { inspect } from 'node:util';
import { kindOf, type Problems, shown } from './problems.js';
import type { ClientAuthentication, ProviderDefinition } from './provider-options.js';
import { resolveTls } from './client-tls.js';
import { resolveSecurity } from './resolve-security.js';
import { SIGNATURE_ALGORITHMS } from './signature-algorithms.js';
import { originFault, urlFault } from './urls.js';

const KEYS = [
  'kind', 'quirks', 'name', 'displayName', 'clientId', 'clientSecret', 'clientAuthentication', 'clientPrivateKey', 'scope',
  'authorizationParams', 'loginParams', 'prompt', 'maxAge', 'acrValues', 'resource', 'claims', 'authorizationDetails',
  'signedRequest', 'responseMode', 'par', 'dpop', 'security', 'apiOrigins', 'tls', 'dispatcher', 'pushedAuthorizationRequestEndpoint',
  'grant', 'revocation', 'keepGrant', 'staticRefreshToken', 'defaultExpiresIn', 'refreshTokenLifetime', 'timeout',
  'authorizationEndpoint', 'tokenEndpoint', 'userinfoEndpoint', 'revocationEndpoint', 'endSessionEndpoint', 'jwksUri',
  'issuer', 'userinfo', 'idTokenSignedResponseAlg', 'logoutTokenWithoutExp', 'profile',
]; // prettier-ignore

/** Parameters that belong to the protocol: configuration may not set them by hand. */
const RESERVED_PARAMS = [
  'client_id', 'client_secret', 'redirect_uri', 'response_type', 'state', 'nonce', 'code_challenge', 'code_challenge_method',
  'code', 'code_verifier', 'request', 'request_uri', 'scope', 'response_mode', 'dpop_jkt', 'grant_type', 'refresh_token',
]; // prettier-ignore

/** A provider definition with every default filled in. */
export type ResolvedProvider = Omit<ProviderDefinition, 'clientPrivateKey' | 'tls'> & {
  readonly kind: 'oidc' | 'oauth2';
  readonly displayName: string;
  /** The configured issuer, or a synthetic one (`oauth2:name`) for providers that have none. */
  readonly issuer: string;
  /** True when {@link issuer} was made up by us. */
  readonly syntheticIssuer: boolean;
  readonly scope: readonly string[];
  readonly authorizationParams: Readonly<Record<string, string>>;
  readonly loginParams: readonly string[];
  readonly acrValues: readonly string[];
  readonly resource: readonly string[];
  readonly responseMode: 'query' | 'form_post' | 'jwt';
  readonly dpop: boolean;
  readonly signedRequest: boolean;
  readonly apiOrigins: readonly string[];
  readonly grant: 'account' | 'session';
  readonly revocation: 'token' | 'grant';
  readonly keepGrant: boolean;
  readonly staticRefreshToken: boolean;
  readonly timeout: number;
  readonly clientPrivateKeys: readonly Readonly<Record<string, unknown>>[];
} & Pick<ProviderDefinition, 'profile'> & {
    readonly userinfo?: boolean;
    readonly idTokenSignedResponseAlg?: string;
    readonly logoutTokenWithoutExp?: boolean;
  };

/** Checks and completes a definition; problems are noted, and a usable object comes back all the same so that all of them are found. */
export function resolveProvider(given: ProviderDefinition, problems: Problems): ResolvedProvider {
  const definition = problems.object<ProviderDefinition>(given, KEYS) as ProviderDefinition;
  const at = (key: string) => problems.at(key);
  const name = at('name').text(definition.name);
  if (name && !/^[a-z0-9][a-z0-9_-]{0,62}$/.test(name)) {
    at('name').add(`must be lower-case letters, digits, "-" and "_" (63 at most), got ${shown(name)}`);
  }
  if (['login', 'session', 'sessions', 'accounts', 'logout'].includes(name))
    at('name').add(`"${name}" is a route of ours; choose another name`);
  if (definition.kind !== 'oidc' && definition.kind !== 'oauth2')
    problems.add('must be made by oidc(), oauth2(), github(), google() or fromPassport()');

  for (const key of [
    'authorizationEndpoint',
    'tokenEndpoint',
    'userinfoEndpoint',
    'revocationEndpoint',
    'endSessionEndpoint',
    'pushedAuthorizationRequestEndpoint',
    'jwksUri',
    'issuer',
  ] as const) {
    const value = definition[key];
    const required =
      definition.kind === 'oidc' ? key === 'issuer' : key === 'authorizationEndpoint' || key === 'tokenEndpoint';
    const fault = value === undefined && !required ? undefined : urlFault(value);
    if (fault) at(key).add(`must be ${fault}, got ${shown(value)}`);
  }
  const apiOrigins = at('apiOrigins').texts(definition.apiOrigins, []);
  for (const [index, origin] of apiOrigins.entries()) {
    const fault = originFault(origin);
    if (fault)
      at('apiOrigins')
        .at(index)
        .add(`must be ${fault}, got ${shown(origin)}`);
  }
  const authorizationParams = resolveParams(definition.authorizationParams, at('authorizationParams'));
  const loginParams = at('loginParams').texts(definition.loginParams, []);
  for (const param of [...Object.keys(authorizationParams), ...loginParams]) {
    if (RESERVED_PARAMS.includes(param))
      at(loginParams.includes(param) ? 'loginParams' : 'authorizationParams').add(
        `"${param}" is set by the protocol itself and cannot be configured`,
      );
  }
  checkOptional(definition, at);
  const dangerous = ['returnTo', '__proto__', 'constructor', 'prototype'];
  for (const param of loginParams)
    if (dangerous.includes(param)) at('loginParams').add(`"${param}" cannot be passed on`);
  const alg =
    definition.kind === 'oidc'
      ? at('idTokenSignedResponseAlg').oneOf(
          definition.idTokenSignedResponseAlg,
          [...SIGNATURE_ALGORITHMS, 'HS256'],
          undefined,
        )
      : undefined;

  const secured = resolveSecurity(definition, problems);
  const { tls: givenTls, ...rest } = definition;
  const tls = resolveTls(givenTls, at('tls'));
  if (tls && definition.dispatcher !== undefined) at('tls').add('excludes dispatcher: give one of them');
  const synthetic = definition.kind === 'oauth2' && definition.issuer === undefined;
  const keys = definition.clientPrivateKey === undefined ? [] : [definition.clientPrivateKey].flat();
  const resolved = {
    ...rest,
    ...(tls ? { dispatcher: tls } : {}),
    name,
    displayName: definition.displayName === undefined ? name : at('displayName').text(definition.displayName),
    clientId: at('clientId').text(definition.clientId),
    clientAuthentication: resolveClientAuthentication(definition, keys.length > 0, problems),
    ...secured,
    clientPrivateKeys: Object.freeze(keys.map((key, index) => checkedKey(key, at('clientPrivateKey').at(index)))),
    issuer: synthetic ? `oauth2:${name}` : (definition.issuer ?? ''),
    syntheticIssuer: synthetic,
    scope: resolveScope(definition, at('scope')),
    authorizationParams: Object.freeze({ ...authorizationParams }),
    loginParams,
    acrValues: at('acrValues').texts(definition.acrValues, []),
    resource: at('resource').texts(definition.resource, []),
    responseMode: at('responseMode').oneOf(definition.responseMode, ['query', 'form_post', 'jwt'], 'query'),
    apiOrigins,
    grant: at('grant').oneOf(definition.grant, ['account', 'session'], 'account'),
    revocation: at('revocation').oneOf(definition.revocation, ['token', 'grant'], 'grant'),
    keepGrant: at('keepGrant').boolean(definition.keepGrant, false),
    staticRefreshToken: at('staticRefreshToken').boolean(definition.staticRefreshToken, false),
    timeout: at('timeout').number(definition.timeout, 10_000, 100, 120_000),
    profile: at('profile').callable(definition.profile),
    ...(alg ? { idTokenSignedResponseAlg: alg } : {}),
  };
  // Whoever prints a service prints its options, too: the client's secret and keys must not come along.
  const plain = (): string => `Provider(${name})`;
  Object.defineProperties(resolved, { [inspect.custom]: { value: plain }, toJSON: { value: plain } });
  return Object.freeze(resolved);
}

function resolveParams(given: unknown, problems: Problems): Readonly<Record<string, string>> {
  if (given === undefined) return {};
  if (typeof given !== 'object' || given === null || Array.isArray(given)) {
    problems.add(`must be an object, got ${kindOf(given)}`);
    return {};
  }
  for (const [name, value] of Object.entries(given)) if (typeof value !== 'string') problems.at(name).text(value);
  return given as Record<string, string>;
}

/** Options whose absence means something, so that they have no default here: only their kind is checked. */
function checkOptional(definition: ProviderDefinition, at: (key: string) => Problems): void {
  if (definition.prompt !== undefined) at('prompt').text(definition.prompt);
  for (const key of ['maxAge', 'defaultExpiresIn', 'refreshTokenLifetime'] as const)
    at(key).number(definition[key], 0, 0, 315_360_000);
  if (definition.kind === 'oidc') at('userinfo').boolean(definition.userinfo, undefined);
}

function resolveScope(definition: ProviderDefinition, problems: Problems): readonly string[] {
  const scope = problems.texts(definition.scope, []);
  for (const item of scope) {
    // RFC 6749 §3.3: printable ASCII without space, quote and backslash.
    if (!/^[\x21\x23-\x5b\x5d-\x7e]+$/.test(item))
      problems.add(`each scope is one word, got ${shown(item)}; write ['a', 'b'] instead of ['a b']`);
  }
  if (definition.kind !== 'oidc' || scope.includes('openid')) return scope;
  return Object.freeze(['openid', ...scope]);
}

/** A client without credential is refused: this package is for confidential clients, unless `none` is written out. */
function resolveClientAuthentication(
  definition: ProviderDefinition,
  hasKey: boolean,
  problems: Problems,
): ClientAuthentication | undefined {
  const place = problems.at('clientAuthentication');
  const methods = [
    'client_secret_post',
    'client_secret_basic',
    'client_secret_jwt',
    'private_key_jwt',
    'tls_client_auth',
    'self_signed_tls_client_auth',
    'none',
  ] as const;
  const method = place.oneOf(definition.clientAuthentication, methods, undefined);
  if (definition.clientSecret !== undefined) problems.at('clientSecret').text(definition.clientSecret, true);
  if (method?.endsWith('tls_client_auth')) return method;
  if (method === 'none') {
    if (definition.clientSecret !== undefined || hasKey)
      place.add(`'none' contradicts the clientSecret or clientPrivateKey given beside it`);
    return method;
  }
  if (method?.startsWith('client_secret') && definition.clientSecret === undefined)
    problems.at('clientSecret').add(`${method} needs a client secret`);
  if (method === 'private_key_jwt' && !hasKey)
    problems.at('clientPrivateKey').add('private_key_jwt needs a private JWK');
  if (method === undefined && definition.clientSecret === undefined && !hasKey) {
    problems.at('clientSecret').add(`is missing; a client without credential must say clientAuthentication: 'none'`);
  }
  return (
    method ??
    (hasKey && (definition.clientSecret === undefined || definition.security === 'fapi2')
      ? 'private_key_jwt'
      : undefined)
  );
}

function checkedKey(key: object, problems: Problems): Readonly<Record<string, unknown>> {
  if (typeof key !== 'object' || key === null) {
    problems.add(`must be a private JWK, got ${kindOf(key)}`);
    return Object.freeze({});
  }
  const { kty, crv, n, d } = key as Record<string, unknown>;
  if (typeof d !== 'string') problems.add('must be a private JWK (with "d")');
  if (kty === 'RSA') {
    const bits = typeof n === 'string' ? Buffer.from(n, 'base64url').length * 8 : 0;
    if (bits < 2048) problems.add(`RSA keys need at least 2048 bits, got ${bits}`);
  } else if (
    !(kty === 'EC' && ['P-256', 'P-384', 'P-521'].includes(String(crv))) &&
    !(kty === 'OKP' && crv === 'Ed25519')
  ) {
    problems.add('must be RSA, EC (P-256, P-384, P-521) or OKP (Ed25519)');
  }
  return Object.freeze({ ...key });
}
