// Tampering, forged signatures, key sets and the resource server of FakeProvider, judged by independent clients.
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { compactDecrypt, createRemoteJWKSet, decodeProtectedHeader, exportJWK, generateKeyPair, jwtVerify } from 'jose';
import * as oidc from 'openid-client';
import { FakeProvider, type DecoyKind, type Forgery } from '../../../src/testing/index.js';
import { attempt, discover, failure, follow, login } from './browser.js';

describe('FakeProvider, lying', () => {
  let provider: FakeProvider;
  let config: oidc.Configuration;

  beforeAll(async () => {
    provider = await FakeProvider.start({ clients: [{ clientId: 'client', clientSecret: 's'.repeat(32) }] });
  });
  afterAll(async () => {
    expect(provider.internalErrors).toEqual([]);
    await provider.close();
  });
  beforeEach(async () => {
    provider.reset();
    config = await discovered();
  });

  async function discovered(): Promise<oidc.Configuration> {
    const found = await discover(provider, oidc.ClientSecretPost('s'.repeat(32)));
    oidc.enableNonRepudiationChecks(found);
    return found;
  }

  it.each<[string, (claims: Record<string, unknown>) => unknown]>([
    ['another issuer', (claims) => (claims.iss = `${String(claims.iss)}/`)],
    ['another audience', (claims) => (claims.aud = 'other')],
    ['no expiry', (claims) => delete claims.exp],
    ['the past', (claims) => (claims.exp = 1)],
    ['another nonce', (claims) => (claims.nonce = 'x')],
    ['a number for a subject, by replacement', (claims) => ({ ...claims, sub: 5 })],
  ])('tampers with ID tokens: %s', async (_, change) => {
    const stop = provider.tamper('idToken', (claims) => {
      const result = change(claims);
      return typeof result === 'object' ? result : undefined;
    });
    expect(await failure(login(config))).toMatch(/^OAUTH_/);
    stop();
    expect((await login(config)).claims()?.sub).toBe('user-1');
  });

  it('tells tampering functions what they tamper with, and honours times', async () => {
    const seen: unknown[] = [];
    provider.tamper('idToken', (_claims, header, { grantType, sub }) => void seen.push([header.alg, grantType, sub]), {
      times: 2,
    });
    const { refresh_token = '' } = await login(config);
    const { refresh_token: next = '' } = await oidc.refreshTokenGrant(config, refresh_token);
    await oidc.refreshTokenGrant(config, next);
    expect(seen).toEqual([
      ['RS256', 'authorization_code', 'user-1'],
      ['RS256', 'refresh_token', 'user-1'],
    ]);
  });

  it('tampers with every other answer', async () => {
    provider.tamper('tokenResponse', (body) => ({ ...body, token_type: 'mac' }), { times: 1 });
    expect(await failure(login(config))).toMatch(/^OAUTH_/);
    provider.tamper('authorizationResponse', (params) => params.append('state', 'twice'), { times: 1 });
    expect(await failure(login(config))).toBe('OAUTH_INVALID_RESPONSE');
    provider.tamper('userinfo', (claims) => ({ ...claims, sub: ['user-1'] }), { times: 1 });
    const { access_token } = await login(config);
    expect(await failure(oidc.fetchUserInfo(config, access_token, 'user-1'))).toBe('OAUTH_INVALID_RESPONSE');
    provider.tamper('parResponse', (body) => ({ ...body, request_uri: 7 }), { times: 1 });
    const { params } = await attempt();
    expect(await failure(oidc.buildAuthorizationUrlWithPAR(config, params))).toBe('OAUTH_INVALID_RESPONSE');
    provider.tamper('metadata', () => [], { times: 1 });
    expect(await failure(discover(provider))).toMatch(/^OAUTH_/);
    provider.tamper('jwks', () => ({ keys: 'none' }), { times: 1 });
    config = await discovered();
    expect(await failure(login(config))).toMatch(/^OAUTH_/);
    provider.tamper('api', (body) => ({ ...body, sub: 'bent' }));
    const api = await fetch(provider.apiUrl, { headers: { authorization: `Bearer ${access_token}` } });
    expect(await api.json()).toMatchObject({ sub: 'bent' });
    provider.clearTampering('api');
    const honest = await fetch(provider.apiUrl, { headers: { authorization: `Bearer ${access_token}` } });
    expect(await honest.json()).toMatchObject({ sub: 'user-1' });
  });

  it('lays members over the metadata and removes some', async () => {
    provider.configure({
      metadata: { code_challenge_methods_supported: undefined, token_endpoint_auth_methods_supported: ['none'] },
    });
    const metadata = (await discover(provider)).serverMetadata();
    expect(metadata).not.toHaveProperty('code_challenge_methods_supported');
    expect(metadata.token_endpoint_auth_methods_supported).toEqual(['none']);
  });

  const forgeries: Forgery[] = [
    { kind: 'badSignature' },
    { kind: 'unsigned' },
    { kind: 'unsigned', alg: 'nOnE' },
    { kind: 'unsigned', alg: null },
    { kind: 'hmacPublicKey' },
    { kind: 'hmacPublicKey', format: 'der' },
    { kind: 'hmacPublicKey', format: 'jwk' },
    { kind: 'foreignKey' },
    { kind: 'headerKey', by: 'jwk' },
    { kind: 'headerKey', by: 'jku' },
    { kind: 'headerKey', by: 'x5u' },
    { kind: 'payload', rewrite: (json) => `[${json}]` },
    { kind: 'payload', rewrite: (json) => json.slice(1) },
  ];
  it.each(forgeries)('forges ID tokens: %j', async (forgery) => {
    provider.forge('idToken', forgery, { times: 1 });
    expect(await failure(login(config))).toMatch(/^(OAUTH_|unsupported|Unexpected)/);
    expect(provider.requestsTo('trap')).toEqual([]);
    expect((await login(config)).claims()?.sub).toBe('user-1');
  });

  it('makes an unknown kid each time', async () => {
    provider.forge('idToken', { kind: 'unknownKid' });
    await failure(login(config));
    await failure(login(config));
    const kids = provider.issued
      .filter(({ kind }) => kind === 'idToken')
      .map(({ value }) => decodeProtectedHeader(value).kid);
    expect(new Set(kids).size).toBe(2);
  });

  it('signs rightly with another algorithm, which only a pinned client refuses', async () => {
    provider.forge('idToken', { kind: 'algorithm', alg: 'ES256' });
    expect((await login(config)).claims()?.sub).toBe('user-1');
    const pinned = await discover(provider, oidc.ClientSecretPost('s'.repeat(32)), {
      id_token_signed_response_alg: 'RS256',
    });
    expect(await failure(login(pinned))).toMatch(/^OAUTH_/);
  });

  it('doubles members without breaking the signature', async () => {
    provider.forge('idToken', { kind: 'payload', rewrite: (json) => `{"sub":"evil",${json.slice(1)}` });
    const { id_token = '' } = await login(config);
    expect(
      Buffer.from(id_token.split('.')[1] ?? '', 'base64url')
        .toString()
        .match(/"sub":/g),
    ).toHaveLength(2);
  });

  it('signs userinfo, and forges it', async () => {
    provider.configure({ userinfoFormat: 'jwt' });
    config = await discovered();
    const { access_token } = await login(config);
    expect(await oidc.fetchUserInfo(config, access_token, 'user-1')).toMatchObject({ sub: 'user-1', name: 'User One' });
    provider.forge('userinfo', { kind: 'badSignature' });
    expect(await failure(oidc.fetchUserInfo(config, access_token, 'user-1'))).toBe('OAUTH_INVALID_RESPONSE');
  });

  it('rotates keys, keeping or withdrawing the old ones', async () => {
    const keys = (): ReturnType<typeof createRemoteJWKSet> => createRemoteJWKSet(new URL(provider.endpoint('jwks')));
    const { id_token = '' } = await login(config);
    await provider.rotateKeys();
    expect((await jwtVerify(id_token, keys())).payload.sub).toBe('user-1');
    config = await discovered();
    const fresh = (await login(config)).id_token ?? '';
    expect(decodeProtectedHeader(fresh).kid).not.toBe(decodeProtectedHeader(id_token).kid);
    await provider.rotateKeys({ keepOld: false });
    await expect(jwtVerify(fresh, keys())).rejects.toThrow('no applicable key found');
  });

  it.each<DecoyKind>(['sameKidOtherAlg', 'sameKidOtherKty', 'encryptionUse', 'privateMember', 'weakRsa', 'thousand'])(
    'publishes decoys: %s',
    async (kind) => {
      provider.addDecoyKeys(kind);
      config = await discovered();
      expect((await login(config)).claims()?.sub).toBe('user-1');
      const { keys } = (await (await fetch(provider.endpoint('jwks'))).json()) as { keys: Record<string, unknown>[] };
      const before = kind === 'thousand' ? 1000 : 1;
      expect(keys).toHaveLength(4 + before);
      const honest = keys.find(({ alg, use }, at) => at >= before && alg === 'RS256' && use === 'sig');
      const decoy = keys[0];
      const marks: Record<DecoyKind, boolean> = {
        sameKidOtherAlg: decoy?.kid === honest?.kid && decoy?.alg === 'PS256',
        sameKidOtherKty: decoy?.kid === honest?.kid && decoy?.kty === 'EC',
        encryptionUse: decoy?.kid === honest?.kid && decoy?.use === 'enc',
        privateMember: typeof decoy?.d === 'string',
        weakRsa: String(decoy?.n).length < 90,
        thousand: new Set(keys.map(({ kid }) => kid)).size === 1004,
      };
      expect(marks[kind]).toBe(true);
    },
  );

  it('signs with a decoy', async () => {
    provider.addDecoyKeys('encryptionUse');
    provider.forge('idToken', { kind: 'decoyKey' });
    config = await discovered();
    expect(await failure(login(config))).toBe('OAUTH_INVALID_RESPONSE');
  });

  it('encrypts ID tokens to a registered key', async () => {
    const { publicKey, privateKey } = await generateKeyPair('ECDH-ES');
    provider.addClient({
      clientId: 'client',
      clientSecret: 's'.repeat(32),
      idTokenEncryptionKey: { ...(await exportJWK(publicKey)) },
    });
    const { params, checks } = await attempt();
    const callback = await follow(oidc.buildAuthorizationUrl(config, params));
    await failure(oidc.authorizationCodeGrant(config, callback, checks));
    const token = provider.issued.find(({ kind }) => kind === 'idToken')?.value ?? '';
    const { plaintext } = await compactDecrypt(token, privateKey);
    const keys = createRemoteJWKSet(new URL(provider.endpoint('jwks')));
    expect((await jwtVerify(Buffer.from(plaintext).toString(), keys)).payload.sub).toBe('user-1');
  });

  it('signs any claims on demand, with a clock of its own', async () => {
    const keys = createRemoteJWKSet(new URL(provider.endpoint('jwks')));
    const token = provider.sign({ hello: 'world' }, { alg: 'ES256', header: { typ: 'at+jwt' } });
    const { payload, protectedHeader } = await jwtVerify(token, keys);
    expect([payload, protectedHeader.typ]).toEqual([{ hello: 'world' }, 'at+jwt']);
    provider.configure({ clockOffset: 45 });
    expect(Number((await login(config)).claims()?.iat) - Date.now() / 1000).toBeGreaterThan(40);
    provider.configure({ clockOffset: -7200 });
    expect(await failure(login(config))).toMatch(/^OAUTH_/);
  });

  it('answers about acr, auth_time and amr as configured', async () => {
    provider.configure({ acr: 'weak', authTime: 'always', authAge: 3600, amr: undefined });
    const claims = (await login(config, { acr_values: 'strong' })).claims();
    expect(claims).toMatchObject({ acr: 'weak' });
    expect(Number(claims?.auth_time)).toBeLessThan(Date.now() / 1000 - 3500);
    expect(claims).not.toHaveProperty('amr');
    provider.configure({ acr: null, authTime: 'never' });
    const silent = (await login(config, { acr_values: 'strong', claims: '{"id_token":{"auth_time":null}}' })).claims();
    expect([silent?.acr, silent?.auth_time]).toEqual([undefined, undefined]);
  });

  it('encodes token answers as forms, and repeats authorization_details', async () => {
    const details = '[{"type":"payment"}]';
    provider.configure({ tokenResponseFormat: 'form' });
    const { params, checks } = await attempt({ authorization_details: details });
    const callback = await follow(oidc.buildAuthorizationUrl(config, params));
    const answer = await fetch(provider.endpoint('token'), {
      method: 'POST',
      body: new URLSearchParams({
        grant_type: 'authorization_code',
        code: callback.searchParams.get('code') ?? '',
        redirect_uri: params.redirect_uri ?? '',
        code_verifier: checks.pkceCodeVerifier ?? '',
        client_id: 'client',
        client_secret: 's'.repeat(32),
      }),
    });
    expect(answer.headers.get('content-type')).toBe('application/x-www-form-urlencoded');
    const fields = new URLSearchParams(await answer.text());
    expect([fields.get('token_type'), fields.get('authorization_details')]).toEqual(['Bearer', details]);
  });

  it('can stop looking at PKCE, as a downgraded server does', async () => {
    provider.configure({ pkce: 'ignored' });
    const { params, checks } = await attempt();
    const callback = await follow(oidc.buildAuthorizationUrl(config, params));
    const wrong = { ...checks, pkceCodeVerifier: oidc.randomPKCECodeVerifier() };
    expect((await oidc.authorizationCodeGrant(config, callback, wrong)).claims()?.sub).toBe('user-1');
  });

  it('goes back to how it was started', async () => {
    const { access_token } = await login(config);
    provider.configure({ oidc: false, metadata: { issuer: 'x' } });
    provider.fault('token', { kind: 'null' });
    provider.tamper('metadata', () => null);
    provider.forge('idToken', { kind: 'unsigned' });
    provider.interpose('authorize', { before: () => Promise.reject(new Error('still there')) });
    provider.mixUp({ authorizationEndpoint: provider.trapUrl, clientId: 'x' });
    provider.addDecoyKeys('thousand');
    provider.addClient({ clientId: 'client', clientSecret: 'other' });
    provider.user({ sub: 'other' });
    provider.reset();
    expect([provider.requests, provider.issued, provider.logins, provider.isActive(access_token)]).toEqual([
      [],
      [],
      [],
      false,
    ]);
    expect(provider.counters).toMatchObject({ codeExchanges: 0, refreshes: 0 });
    expect((await login(await discovered())).claims()?.sub).toBe('user-1');
  });

  it('has a resource server that counts, refuses, redirects and echoes', async () => {
    const { access_token } = await login(config);
    const call = (init: RequestInit = {}): Promise<Response> =>
      fetch(`${provider.apiUrl}/things?x=1`, {
        headers: { authorization: `Bearer ${access_token}` },
        redirect: 'manual',
        ...init,
      });
    provider.fault('api', { kind: 'status', status: 401, times: 1 });
    provider.fault('api', { kind: 'redirect', status: 302, location: 'http://evil.example/', times: 1 });
    const refused = await call();
    expect([refused.status, refused.headers.get('www-authenticate')]).toEqual([401, 'Bearer error="invalid_token"']);
    expect((await call()).headers.get('location')).toBe('http://evil.example/');
    provider.configure({ apiEcho: true });
    const echoed = await call({ method: 'POST', body: 'hello' });
    expect(await echoed.json()).toMatchObject({
      tokenCount: 1,
      method: 'POST',
      path: '/api/things',
      body: 'hello',
      headers: { authorization: `Bearer ${access_token}` },
    });
    expect((await fetch(provider.apiUrl)).status).toBe(401);
    expect((await fetch(provider.apiUrl, { headers: { authorization: `DPoP ${access_token}` } })).status).toBe(401);
    expect(provider.requestsTo('api')).toHaveLength(5);
  });
});
