// express-openid-connect with the code flow. Its session lives in an encrypted cookie, so there is no row to look up
// and none to revoke. `rolling` (default) encrypts a new cookie for every answer; `-fixed` turns that off.
import { guardOf, nestApp } from './nest.mjs';
import { signingSecret } from './seeds.mjs';

export const seed = undefined;

/** Its cookies can only be had by logging in: the runner does that with the stub provider. */
export const cookies = undefined;

export const login = { start: '/login' };

export async function build({ variant, platform, port, provider, baseUrl = `http://127.0.0.1:${port}` }) {
  const { default: openid } = await import('express-openid-connect');
  return nestApp({
    platform,
    port,
    before(app) {
      app.use(
        openid.auth({
          issuerBaseURL: provider.issuer,
          baseURL: baseUrl,
          clientID: provider.clientId,
          clientSecret: provider.clientSecret,
          clientAuthMethod: 'client_secret_post',
          secret: signingSecret,
          authRequired: false,
          idTokenSigningAlg: 'ES256',
          authorizationParams: { response_type: 'code', scope: 'openid email offline_access' },
          session: {
            rolling: variant !== 'openid-connect-fixed',
            ...(variant === 'openid-connect-fixed' && { rollingDuration: false }),
          },
        }),
      );
    },
    guards: [guardOf((request) => request.oidc.isAuthenticated())],
    answer: (request) => ({ id: request.oidc.user.sub }),
    // Their documented way: refresh when the token has expired.
    token: async (request) => {
      const { accessToken } = request.oidc;
      const fresh = accessToken.isExpired() ? await accessToken.refresh() : accessToken;
      return { token: fresh.access_token };
    },
  });
}
