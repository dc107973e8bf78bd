// @ts-check
// How `oidc-provider` is configured for tests and the demo. Everything it would warn about in production is answered here.
// @see https://github.com/panva/node-oidc-provider/blob/main/docs/README.md
import { generateKeyPair, randomBytes } from 'node:crypto';
import { promisify } from 'node:util';
import { problemPage, signOutPage, signedOutPage } from './identity-pages.mjs';

const generate = promisify(generateKeyPair);

/** Two fresh keys, for RS256 and ES256, as private JWKs. */
export async function signingKeys() {
  const [rsa, ec] = await Promise.all([
    generate('rsa', { modulusLength: 2048 }),
    generate('ec', { namedCurve: 'P-256' }),
  ]);
  return [
    { ...rsa.privateKey.export({ format: 'jwk' }), kid: randomBytes(8).toString('hex'), alg: 'RS256', use: 'sig' },
    { ...ec.privateKey.export({ format: 'jwk' }), kid: randomBytes(8).toString('hex'), alg: 'ES256', use: 'sig' },
  ];
}

/**
 * @param {object} of
 * @param {import('./oidc-provider.mjs').ProviderOptions} of.options
 * @param {number} of.port
 * @param {import('./memory-adapter.mjs').MemoryStore} of.store
 * @param {object[]} of.keys
 * @param {() => number} of.accessTokenTtl
 * @param {(sub: string) => import('./oidc-provider.mjs').ProviderAccount | undefined} of.account
 * @returns {import('oidc-provider').Configuration}
 */
export function providerConfiguration({ options, port, store, keys, accessTokenTtl, account }) {
  const { refreshTokens = 'always', resources = {} } = options;
  return {
    adapter: store.adapter,
    jwks: { keys },
    clients: /** @type {import('oidc-provider').ClientMetadata[]} */ (options.clients.map(withDefaults)),
    cookies: {
      keys: [cookieKey(store)],
      // Ports do not keep cookies apart, and several providers share the host.
      names: { session: `idp_${port}`, interaction: `idp_${port}_interaction`, resume: `idp_${port}_resume` },
    },
    claims: {
      openid: ['sub', 'amr'],
      profile: ['name', 'given_name', 'family_name', 'preferred_username', 'picture', 'locale', 'updated_at'],
      email: ['email', 'email_verified'],
    },
    ...(options.acrValues && { acrValues: options.acrValues }),
    pkce: { required: () => true },
    clientBasedCORS: () => false,
    findAccount: (_context, sub) => {
      const found = account(sub);
      if (!found) return undefined;
      const { username, ...claims } = found;
      return { accountId: sub, claims: async () => ({ preferred_username: username, ...claims }) };
    },
    interactions: { url: (_context, { uid }) => `/interaction/${uid}` },
    loadExistingGrant,
    issueRefreshToken: async (_context, client, code) =>
      client.grantTypeAllowed('refresh_token') &&
      refreshTokens !== 'never' &&
      (refreshTokens === 'always' || code.scopes.has('offline_access')),
    expiresWithSession: async () => false,
    rotateRefreshToken: options.rotateRefreshToken ?? true,
    ttl: {
      ...{ AuthorizationCode: 60, Grant: 1_209_600, IdToken: 3600, Interaction: 3600, Session: 1_209_600 },
      AccessToken: accessTokenTtl,
      RefreshToken: options.refreshTokenTtl ?? 1_209_600,
    },
    features: {
      devInteractions: { enabled: false },
      userinfo: { enabled: true },
      introspection: {
        enabled: true,
        allowedPolicy: async (_context, client, token) => token.clientId === client.clientId,
      },
      revocation: {
        enabled: true,
        allowedPolicy: async (_context, client, token) => token.clientId === client.clientId,
      },
      backchannelLogout: { enabled: true },
      pushedAuthorizationRequests: { enabled: true },
      dPoP: { enabled: true, nonceSecret: randomBytes(32), requireNonce: () => options.dpopNonce ?? false },
      rpInitiatedLogout: {
        enabled: true,
        logoutSource: async (context, form) => void (context.body = signOutPage(form)),
        postLogoutSuccessSource: async (context) => void (context.body = signedOutPage()),
      },
      resourceIndicators: {
        enabled: Object.keys(resources).length > 0,
        useGrantedResource: async () => true,
        getResourceServerInfo: async (_context, resource) => {
          const scope = resources[resource];
          if (scope === undefined) throw new Error(`Unknown resource ${resource}`);
          return { scope, audience: resource, accessTokenFormat: 'opaque' };
        },
      },
    },
    renderError: async (context, out) => {
      context.type = 'html';
      context.body = problemPage({ ...out });
    },
    // Clients are on loopback here, which the provider's own guard against such addresses would refuse.
    fetch: (url, { dispatcher: _guard, ...init } = {}) => fetch(url, { ...init, signal: AbortSignal.timeout(5000) }),
  };
}

/** @param {Partial<import('oidc-provider').ClientMetadata>} client */
function withDefaults(client) {
  return {
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
    token_endpoint_auth_method: 'client_secret_post',
    ...client,
  };
}

/** Consent is given without asking, to all that is requested. @param {import('oidc-provider').KoaContextWithOIDC} context */
async function loadExistingGrant(context) {
  const { client, session, params, result, provider, resourceServers } = context.oidc;
  if (!client || !session?.accountId) return undefined;
  const id = result?.consent?.grantId ?? session.grantIdFor(client.clientId);
  const known = id ? await provider.Grant.find(id) : undefined;
  const grant = known ?? new provider.Grant({ clientId: client.clientId, accountId: session.accountId });
  grant.addOIDCScope(String(params?.scope ?? 'openid'));
  for (const [resource, server] of Object.entries(resourceServers ?? {}))
    grant.addResourceScope(resource, server.scope);
  await grant.save();
  return grant;
}

/** @type {WeakMap<object, string>} */
const cookieKeys = new WeakMap();

/** One key per provider, which outlives a change of its signing keys. @param {object} store */
function cookieKey(store) {
  const key = cookieKeys.get(store) ?? randomBytes(32).toString('hex');
  cookieKeys.set(store, key);
  return key;
}
