// DPoP at FakeProvider: bound tokens, nonces of two servers, and the ways it refuses.
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { calculateJwkThumbprint, exportJWK } from 'jose';
import * as oidc from 'openid-client';
import { FakeProvider } from '../../../src/testing/index.js';
import { attempt, discover, failure, follow, login } from './browser.js';

describe('FakeProvider, binding tokens with DPoP', () => {
  let provider: FakeProvider;
  let config: oidc.Configuration;
  let DPoP: oidc.DPoPHandle;
  let jkt: string;

  beforeAll(async () => {
    provider = await FakeProvider.start();
  });
  afterAll(async () => {
    expect(provider.internalErrors).toEqual([]);
    await provider.close();
  });
  beforeEach(async () => {
    provider.reset();
    config = await discover(provider);
    const pair = await oidc.randomDPoPKeyPair('ES256', { extractable: true });
    jkt = await calculateJwkThumbprint(await exportJWK(pair.publicKey));
    DPoP = oidc.getDPoPHandle(config, pair);
  });

  const callApi = (token: string, handle?: oidc.DPoPHandle): Promise<Response> =>
    oidc.fetchProtectedResource(config, token, new URL(`${provider.apiUrl}/x?y=1`), 'GET', undefined, undefined, {
      DPoP: handle,
    });

  it('binds tokens to the key of the proof, at login, refresh, userinfo and the API', async () => {
    provider.configure({ requireDpop: true });
    const tokens = await login(config, {}, { DPoP });
    expect(tokens.token_type).toBe('dpop');
    expect(provider.requestsTo('code')[0]?.dpop?.jkt).toBe(jkt);
    expect(await oidc.fetchUserInfo(config, tokens.access_token, 'user-1', { DPoP })).toMatchObject({ sub: 'user-1' });
    expect(await (await callApi(tokens.access_token, DPoP)).json()).toMatchObject({ sub: 'user-1' });
    const [call] = provider.requestsTo('api');
    expect(call?.headers.authorization).toMatch(/^DPoP /);
    expect(call?.dpop?.claims).toMatchObject({ htm: 'GET', htu: `${provider.apiUrl}/x` });
    expect((await oidc.refreshTokenGrant(config, tokens.refresh_token ?? '', undefined, { DPoP })).token_type).toBe(
      'dpop',
    );
  });

  it('refuses bound tokens without a proof, with another key, or with a proof used before', async () => {
    const { access_token } = await login(config, {}, { DPoP });
    const bare = await fetch(provider.apiUrl, { headers: { authorization: `Bearer ${access_token}` } });
    expect(bare.status).toBe(401);
    const stranger = oidc.getDPoPHandle(config, await oidc.randomDPoPKeyPair());
    expect(await failure(callApi(access_token, stranger))).toBe('OAUTH_WWW_AUTHENTICATE_CHALLENGE');
    await callApi(access_token, DPoP);
    const headers = {
      authorization: `DPoP ${access_token}`,
      dpop: String(provider.requestsTo('api').at(-1)?.headers.dpop),
    };
    const replayed = await fetch(`${provider.apiUrl}/x`, { headers });
    expect(replayed.headers.get('www-authenticate')).toContain('invalid_dpop_proof');
    expect(provider.requestsTo('api').at(-1)?.dpop?.problem).toContain('jti');
  });

  it('demands proofs where it is told to', async () => {
    provider.configure({ requireDpop: true });
    expect(await failure(login(config))).toBe('invalid_dpop_proof');
  });

  it('hands out nonces per server and renews them with every answer', async () => {
    provider.configure({ dpopNonce: 'rotating', apiDpopNonce: 'rotating' });
    const first = login(config, {}, { DPoP });
    const { access_token, refresh_token } = await first;
    expect(provider.requestsTo('code').map(({ status }) => status)).toEqual([400, 200]);
    await oidc.refreshTokenGrant(config, refresh_token ?? '', undefined, { DPoP });
    expect(provider.requestsTo('refresh').map(({ status }) => status)).toEqual([200]);
    await callApi(access_token, DPoP);
    await callApi(access_token, DPoP);
    expect(provider.requestsTo('api').map(({ status }) => status)).toEqual([401, 200, 200]);
    const noncesAt = (endpoint: 'token' | 'api'): unknown[] =>
      provider.requestsTo(endpoint).map(({ dpop }) => dpop?.claims.nonce);
    expect(noncesAt('api').filter((nonce) => nonce !== undefined && noncesAt('token').includes(nonce))).toEqual([]);
    expect(new Set(noncesAt('token')).size).toBe(3);
  });

  it('can demand another nonce for ever', async () => {
    provider.configure({ dpopNonce: 'endless' });
    expect(await failure(login(config, {}, { DPoP }))).toBe('use_dpop_nonce');
    expect(provider.requestsTo('code')).toHaveLength(2);
    expect(provider.counters.codeExchanges).toBe(0);
  });

  it('binds a code to the key of the pushed request', async () => {
    const { params, checks } = await attempt();
    const callback = await follow(await oidc.buildAuthorizationUrlWithPAR(config, params, { DPoP }));
    const stranger = oidc.getDPoPHandle(config, await oidc.randomDPoPKeyPair());
    const stolen = oidc.authorizationCodeGrant(config, callback, checks, undefined, { DPoP: stranger });
    expect(await failure(stolen)).toBe('invalid_dpop_proof');
    const tokens = await oidc.authorizationCodeGrant(config, callback, checks, undefined, { DPoP });
    expect(tokens.token_type).toBe('dpop');
  });

  it('can downgrade to Bearer', async () => {
    provider.configure({ dpopDowngrade: true });
    expect((await login(config, {}, { DPoP })).token_type).toBe('bearer');
  });

  it('binds refresh tokens of public clients', async () => {
    provider.addClient({ clientId: 'public' });
    config = await discover(provider, oidc.None(), {}, 'public');
    const { refresh_token = '' } = await login(config, {}, { DPoP });
    expect(await failure(oidc.refreshTokenGrant(config, refresh_token))).toBe('invalid_dpop_proof');
    expect((await oidc.refreshTokenGrant(config, refresh_token, undefined, { DPoP })).token_type).toBe('dpop');
  });
});
