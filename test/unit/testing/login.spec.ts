// A whole login against FakeProvider with an independent client, and what the provider refuses.
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { exportJWK, generateKeyPair } from 'jose';
import * as oidc from 'openid-client';
import { FakeProvider } from '../../../src/testing/index.js';
import { attempt, CALLBACK, discover, failure, follow, login, readForm } from './browser.js';

describe('FakeProvider, logging in', () => {
  let provider: FakeProvider;
  let config: oidc.Configuration;

  beforeAll(async () => {
    provider = await FakeProvider.start({
      clients: [{ clientId: 'client', clientSecret: 'secret', redirectUris: [CALLBACK] }],
    });
  });
  afterAll(async () => {
    expect(provider.internalErrors).toEqual([]);
    await provider.close();
  });
  beforeEach(async () => {
    provider.reset();
    config = await discover(provider);
  });

  it('carries a code flow with PKCE, nonce and iss through to userinfo and the API', async () => {
    oidc.enableNonRepudiationChecks(config);
    provider.user({ sub: 'alice', name: 'Alice', email: 'alice@example.com' });
    const tokens = await login(config, { max_age: '60', acr_values: '2 1' });
    expect(tokens.claims()).toMatchObject({
      iss: provider.issuer,
      sub: 'alice',
      aud: 'client',
      acr: '2',
      amr: ['pwd'],
    });
    expect(tokens.claims()).toHaveProperty('auth_time');
    expect(tokens.claims()).toHaveProperty('at_hash');
    expect(tokens.claims()?.sid).toBe(provider.logins[0]?.sid);
    expect(await oidc.fetchUserInfo(config, tokens.access_token, 'alice')).toMatchObject({
      email: 'alice@example.com',
    });
    const api = await fetch(`${provider.apiUrl}/repos`, {
      headers: { authorization: `Bearer ${tokens.access_token}` },
    });
    expect(await api.json()).toMatchObject({ sub: 'alice', path: '/api/repos', tokenCount: 2, generation: 1 });
    expect(new URL(provider.apiUrl).origin).not.toBe(new URL(provider.url).origin);
    const kinds = provider.issued.map(({ kind }) => kind).sort();
    expect(kinds).toEqual(['accessToken', 'code', 'idToken', 'refreshToken']);
    expect(provider.issued.find(({ kind }) => kind === 'accessToken')?.value).toBe(tokens.access_token);
  });

  it('logs every request as it came in', async () => {
    const tokens = await login(config);
    const [authorize] = provider.requestsTo('authorize');
    expect(authorize?.query.get('code_challenge_method')).toBe('S256');
    const [token] = provider.requestsTo('token');
    expect(token).toMatchObject({ endpoint: 'code', method: 'POST', path: '/token', status: 200 });
    expect(token?.clientAuth).toEqual({ clientId: 'client', methods: ['client_secret_post'], accepted: true });
    expect(token?.form.get('code_verifier')).toMatch(/^[\w~.-]{43,128}$/);
    await fetch(`${provider.apiUrl}/x`, { headers: { authorization: `Bearer ${tokens.access_token}` } });
    expect(provider.requestsWith(tokens.access_token).map(({ endpoint }) => endpoint)).toEqual(['api']);
    provider.clearRequests();
    expect(provider.requests).toHaveLength(0);
  });

  it.each(['RS256', 'PS256', 'ES256', 'EdDSA', 'Ed25519', 'ES384', 'RS512'] as const)(
    'signs with %s',
    async (idTokenAlg) => {
      provider.configure({ idTokenAlg });
      config = await discover(provider, undefined, { id_token_signed_response_alg: idTokenAlg });
      oidc.enableNonRepudiationChecks(config);
      expect((await login(config)).claims()?.sub).toBe('user-1');
    },
  );

  it('signs with HS256 and the client secret', async () => {
    const secret = 's'.repeat(32);
    provider.addClient({ clientId: 'client', clientSecret: secret });
    provider.configure({ idTokenAlg: 'HS256' });
    config = await discover(provider, oidc.ClientSecretPost(secret), {
      client_secret: secret,
      id_token_signed_response_alg: 'HS256',
    });
    expect((await login(config)).claims()?.sub).toBe('user-1');
  });

  it('demands PKCE and verifies it', async () => {
    const { params, checks } = await attempt();
    const { code_challenge: _, code_challenge_method: __, ...bare } = params;
    const refused = await follow(oidc.buildAuthorizationUrl(config, bare));
    expect(refused.searchParams.get('error')).toBe('invalid_request');
    const plain = await follow(oidc.buildAuthorizationUrl(config, { ...params, code_challenge_method: 'plain' }));
    expect(plain.searchParams.get('error_description')).toContain('transform');
    const callback = await follow(oidc.buildAuthorizationUrl(config, params));
    const wrong = { ...checks, pkceCodeVerifier: oidc.randomPKCECodeVerifier() };
    expect(await failure(oidc.authorizationCodeGrant(config, callback, wrong))).toBe('invalid_grant');
    expect(provider.counters.codeExchanges).toBe(0);
  });

  it('redeems a code once, and ends its tokens when it comes again', async () => {
    const { params, checks } = await attempt();
    const callback = await follow(oidc.buildAuthorizationUrl(config, params));
    const tokens = await oidc.authorizationCodeGrant(config, callback, checks);
    expect(provider.isActive(tokens.access_token)).toBe(true);
    expect(await failure(oidc.authorizationCodeGrant(config, callback, checks))).toBe('invalid_grant');
    expect(provider.counters).toMatchObject({ codeExchanges: 1, codeReuses: 1 });
    expect(provider.isActive(tokens.access_token)).toBe(false);
  });

  it('compares redirect URIs exactly and answers strangers with a page', async () => {
    const { params } = await attempt({ redirect_uri: `${CALLBACK}/` });
    const page = await fetch(oidc.buildAuthorizationUrl(config, params), { redirect: 'manual' });
    expect(page.status).toBe(400);
    const { params: other } = await attempt({ client_id: 'nobody' });
    expect((await fetch(oidc.buildAuthorizationUrl(config, other), { redirect: 'manual' })).status).toBe(400);
  });

  it('sends and forges iss, and says so in the metadata', async () => {
    expect(config.serverMetadata().authorization_response_iss_parameter_supported).toBe(true);
    provider.configure({ responseIss: 'https://evil.example' });
    expect(await failure(login(config))).toBe('OAUTH_INVALID_RESPONSE');
    provider.configure({ responseIss: false });
    expect(await failure(login(config))).toBe('OAUTH_INVALID_RESPONSE');
    expect((await discover(provider)).serverMetadata().authorization_response_iss_parameter_supported).toBe(false);
  });

  it('posts a form for form_post', async () => {
    const { params, checks } = await attempt({ response_mode: 'form_post' });
    const page = await fetch(oidc.buildAuthorizationUrl(config, params), { redirect: 'manual' });
    expect(page.status).toBe(200);
    const { action, fields } = readForm(await page.text());
    expect(action).toBe(CALLBACK);
    const posted = new Request(action, { method: 'POST', body: fields });
    expect((await oidc.authorizationCodeGrant(config, posted, checks)).claims()?.sub).toBe('user-1');
  });

  it('answers with a JWT for JARM', async () => {
    oidc.useJwtResponseMode(config);
    const { params, checks } = await attempt();
    const callback = await follow(oidc.buildAuthorizationUrl(config, params));
    expect([...callback.searchParams.keys()]).toEqual(['response']);
    expect((await oidc.authorizationCodeGrant(config, callback, checks)).claims()?.sub).toBe('user-1');
    provider.forge('jarm', { kind: 'badSignature' });
    const forged = await attempt();
    const bad = await follow(oidc.buildAuthorizationUrl(config, forged.params));
    expect(await failure(oidc.authorizationCodeGrant(config, bad, forged.checks))).toBe('OAUTH_INVALID_RESPONSE');
  });

  it.each<[string, (fake: FakeProvider) => unknown]>([
    ['chosen', (fake) => fake.configure({ responseIss: 'https://evil.example' })],
    [
      'tampered with',
      (fake) => fake.tamper('authorizationResponse', (answer) => answer.set('iss', 'https://evil.example')),
    ],
  ])('an iss that is %s is what a JARM answer says', async (_, forge) => {
    oidc.useJwtResponseMode(config);
    forge(provider);
    const { params, checks } = await attempt();
    const callback = await follow(oidc.buildAuthorizationUrl(config, params));
    expect(await failure(oidc.authorizationCodeGrant(config, callback, checks))).toBe(
      'OAUTH_JWT_CLAIM_COMPARISON_FAILED',
    );
  });

  it('takes pushed requests, each once, and can insist on them', async () => {
    provider.configure({ requirePar: true });
    const { params, checks } = await attempt();
    expect((await fetch(oidc.buildAuthorizationUrl(config, params), { redirect: 'manual' })).status).toBe(400);
    const url = await oidc.buildAuthorizationUrlWithPAR(config, params);
    expect([...url.searchParams.keys()].sort()).toEqual(['client_id', 'request_uri']);
    const callback = await follow(url);
    expect((await fetch(url, { redirect: 'manual' })).status).toBe(400);
    expect((await oidc.authorizationCodeGrant(config, callback, checks)).claims()?.sub).toBe('user-1');
    expect(provider.requestsTo('par')[0]?.clientAuth?.accepted).toBe(true);
  });

  it('opens signed request objects and refuses forged ones', async () => {
    const [honest, other] = [await generateKeyPair('ES256'), await generateKeyPair('ES256')];
    const jwk = { ...(await exportJWK(honest.publicKey)), alg: 'ES256', use: 'sig' };
    provider.addClient({ clientId: 'client', clientSecret: 'secret', jwks: { keys: [jwk] } });
    provider.configure({ requireSignedRequestObject: true });
    const { params, checks } = await attempt();
    const callback = await follow(await oidc.buildAuthorizationUrlWithJAR(config, params, honest.privateKey));
    expect((await oidc.authorizationCodeGrant(config, callback, checks)).claims()?.sub).toBe('user-1');
    const forged = await oidc.buildAuthorizationUrlWithJAR(config, params, other.privateKey);
    expect((await fetch(forged, { redirect: 'manual' })).status).toBe(400);
    expect((await fetch(oidc.buildAuthorizationUrl(config, params), { redirect: 'manual' })).status).toBe(400);
  });

  it('refuses when told to, through the browser, with state and iss', async () => {
    provider.fault('authorize', { kind: 'oauthError', error: 'access_denied', times: 1 });
    expect(await failure(login(config))).toBe('access_denied');
    provider.configure({ promptNoneError: 'login_required' });
    expect(await failure(login(config, { prompt: 'none' }))).toBe('login_required');
    expect((await login(config)).claims()?.sub).toBe('user-1');
  });

  it('knows several users: by turn, by function, by login_hint', async () => {
    let turn = 0;
    provider.user(() => ({ sub: `turn-${(turn += 1)}` }));
    expect((await login(config)).claims()?.sub).toBe('turn-1');
    expect((await login(config)).claims()?.sub).toBe('turn-2');
    provider.user({ sub: 'bob', email: 'bob@example.com' });
    provider.user({ sub: 'carol' });
    expect((await login(config, { login_hint: 'bob@example.com' })).claims()?.sub).toBe('bob');
    expect((await login(config)).claims()?.sub).toBe('carol');
  });

  it('sends the browser on to another provider with the same state', async () => {
    await using honest = await FakeProvider.start({ clients: [{ clientId: 'at-honest', clientSecret: 'x' }] });
    provider.mixUp({ authorizationEndpoint: honest.endpoint('authorize'), clientId: 'at-honest' });
    const { params } = await attempt();
    const forwarded = await follow(oidc.buildAuthorizationUrl(config, params));
    expect(forwarded.origin).toBe(honest.url);
    const callback = await follow(forwarded);
    expect(callback.searchParams.get('state')).toBe(params.state);
    expect(callback.searchParams.get('iss')).toBe(honest.issuer);
    expect(provider.requestsWith(callback.searchParams.get('code') ?? '')).toEqual([]);
  });

  it('is a plain OAuth 2.0 server where OIDC is off', async () => {
    provider.configure({ oidc: false, tokenResponseFormat: 'json', scope: (asked) => asked.split(' ').join(',') });
    const plain = await oidc.discovery(new URL(provider.issuer), 'client', 'secret', undefined, {
      algorithm: 'oauth2',
      execute: [oidc.allowInsecureRequests],
    });
    const { params, checks } = await attempt({ scope: 'read write' });
    const callback = await follow(oidc.buildAuthorizationUrl(plain, params));
    const { idTokenExpected: _, expectedNonce: __, ...rest } = checks;
    const tokens = await oidc.authorizationCodeGrant(plain, callback, rest);
    expect(tokens.id_token).toBeUndefined();
    expect(tokens.scope).toBe('read,write');
    expect((await fetch(`${provider.issuer}/.well-known/openid-configuration`)).status).toBe(404);
  });

  it('serves a tenant under a path', async () => {
    await using tenant = await FakeProvider.start({ issuerPath: '/tenant-1' });
    expect(tenant.issuer).toBe(`${tenant.url}/tenant-1`);
    const claims = (await login(await discover(tenant))).claims();
    expect(claims?.iss).toBe(tenant.issuer);
  });
});
