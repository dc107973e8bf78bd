// A real provider: `oidc-provider` with its in-memory store, consent given in advance, the password page answered by
// itself. It costs far more than any client, so with it the ratios say little; it shows that the same code works.
import { createServer } from 'node:http';
import { exportJWK, generateKeyPair } from 'jose';
import { Provider } from 'oidc-provider';
import { clientSecret, issuer, options, serve } from './serve.mjs';

const { privateKey } = await generateKeyPair('ES256', { extractable: true });

const provider = new Provider(issuer, {
  clients: [
    {
      client_id: options.clientId,
      client_secret: clientSecret,
      redirect_uris: options.redirectUris,
      grant_types: ['authorization_code', 'refresh_token'],
      response_types: ['code'],
      token_endpoint_auth_method: 'client_secret_post',
      id_token_signed_response_alg: 'ES256',
    },
  ],
  jwks: { keys: [{ ...(await exportJWK(privateKey)), kid: 'oidc', alg: 'ES256', use: 'sig' }] },
  cookies: { keys: ['benchmark'] },
  claims: { openid: ['sub'], email: ['email', 'email_verified'] },
  conformIdTokenClaims: false,
  features: { devInteractions: { enabled: false }, userinfo: { enabled: false } },
  findAccount: (context, id) => ({
    accountId: id,
    claims: () => ({ sub: id, email: `${id}@example.com`, email_verified: true }),
  }),
  interactions: { url: (context, interaction) => `/interaction/${interaction.uid}` },
  issueRefreshToken: () => true,
  async loadExistingGrant(context) {
    const grant = new context.oidc.provider.Grant({
      clientId: context.oidc.client.clientId,
      accountId: context.oidc.session.accountId,
    });
    grant.addOIDCScope('openid email offline_access');
    await grant.save();
    return grant;
  },
  ttl: { AccessToken: 3600, Grant: 3600, IdToken: 600, Interaction: 600, RefreshToken: 3600, Session: 3600 },
});

const handle = provider.callback();
let people = 0;
const server = createServer((request, response) => {
  if (!request.url?.startsWith('/interaction/')) return void handle(request, response);
  const login = { accountId: `person-${people++ % 1000}`, remember: false };
  provider.interactionFinished(request, response, { login }).catch((error) => {
    response.writeHead(500).end(String(error));
  });
});

serve(server, '/auth');
