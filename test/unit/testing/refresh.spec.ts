// Refresh, rotation, punished reuse and revocation at FakeProvider, with an independent client.
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import * as oidc from 'openid-client';
import { FakeProvider } from '../../../src/testing/index.js';
import { attempt, discover, failure, follow, login } from './browser.js';

describe('FakeProvider, keeping grants', () => {
  let provider: FakeProvider;
  let config: oidc.Configuration;

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
  });

  async function refreshToken(extra: Record<string, string> = {}): Promise<string> {
    const tokens = await login(config, extra);
    if (tokens.refresh_token === undefined) throw new Error('no refresh token');
    return tokens.refresh_token;
  }

  it('rotates refresh tokens and gives a fresh ID token without a nonce', async () => {
    const first = await refreshToken();
    const tokens = await oidc.refreshTokenGrant(config, first);
    expect(tokens.refresh_token).toEqual(expect.any(String));
    expect(tokens.refresh_token).not.toBe(first);
    expect(tokens.claims()?.sub).toBe('user-1');
    expect(tokens.claims()).not.toHaveProperty('nonce');
    expect(provider.refreshCount).toBe(1);
    expect(provider.requestsTo('refresh')).toHaveLength(1);
    expect(provider.requestsTo('token')).toHaveLength(2);
  });

  it('revokes the family when a spent refresh token comes back', async () => {
    const first = await refreshToken();
    const second = await oidc.refreshTokenGrant(config, first);
    expect(await failure(oidc.refreshTokenGrant(config, first))).toBe('invalid_grant');
    expect(await failure(oidc.refreshTokenGrant(config, second.refresh_token ?? ''))).toBe('invalid_grant');
    expect(provider.isActive(second.access_token)).toBe(false);
    expect(provider.counters).toMatchObject({ refreshes: 1, refreshReuses: 1, familiesRevoked: 1 });
    expect(provider.familiesRevoked).toBe(1);
  });

  it('lets one of many parallel refreshes through', async () => {
    const first = await refreshToken();
    const outcomes = await Promise.allSettled(Array.from({ length: 20 }, () => oidc.refreshTokenGrant(config, first)));
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    expect(provider.counters).toMatchObject({ refreshes: 1, refreshReuses: 19, familiesRevoked: 1 });
  });

  it('forgives reuse within the grace period, or always where it is not punished', async () => {
    provider.configure({ reuseGracePeriod: 60_000 });
    const first = await refreshToken();
    await oidc.refreshTokenGrant(config, first);
    await oidc.refreshTokenGrant(config, first);
    expect(provider.counters).toMatchObject({ refreshes: 2, familiesRevoked: 0 });
    provider.configure({ reuseGracePeriod: 0, punishReuse: false });
    const other = await refreshToken();
    const next = await oidc.refreshTokenGrant(config, other);
    expect(await failure(oidc.refreshTokenGrant(config, other))).toBe('invalid_grant');
    expect((await oidc.refreshTokenGrant(config, next.refresh_token ?? '')).access_token).toEqual(expect.any(String));
    expect(provider.familiesRevoked).toBe(0);
  });

  it('can keep, repeat or withhold refresh tokens, and let them lapse', async () => {
    provider.configure({ rotation: false });
    const kept = await refreshToken();
    expect((await oidc.refreshTokenGrant(config, kept)).refresh_token).toBeUndefined();
    provider.configure({ rotation: 'same' });
    expect((await oidc.refreshTokenGrant(config, kept)).refresh_token).toBe(kept);
    provider.configure({ issueRefreshToken: false });
    expect((await login(config)).refresh_token).toBeUndefined();
    provider.configure({ issueRefreshToken: 'offline_access' });
    expect((await login(config)).refresh_token).toBeUndefined();
    expect((await login(config, { scope: 'openid offline_access' })).refresh_token).toEqual(expect.any(String));
    provider.configure({ issueRefreshToken: true, refreshTokenLifetime: -1 });
    const lapsed = await refreshToken();
    expect(await failure(oidc.refreshTokenGrant(config, lapsed))).toBe('invalid_grant');
  });

  it.each([
    ['"3600"'],
    ['null'],
    ['"abc"'],
    ['1e300'],
    ['3599.9'],
    ['true'],
    ['9223372036854775808'],
    ['0'],
    ['-1'],
    [undefined],
  ])('says expires_in %s', async (text) => {
    provider.configure({ expiresIn: text === undefined ? undefined : JSON.parse(text) });
    const { params, checks } = await attempt();
    const code = (await follow(oidc.buildAuthorizationUrl(config, params))).searchParams.get('code') ?? '';
    const answer = await fetch(provider.endpoint('token'), {
      method: 'POST',
      body: new URLSearchParams({
        grant_type: 'authorization_code',
        code,
        redirect_uri: params.redirect_uri ?? '',
        code_verifier: checks.pkceCodeVerifier ?? '',
        client_id: 'client',
        client_secret: 'secret',
      }),
    });
    const body = (await answer.json()) as Record<string, unknown>;
    expect(body.expires_in).toEqual(text === undefined ? undefined : JSON.parse(text));
  });

  it('narrows scope and resources, and refuses wider ones', async () => {
    const token = await refreshToken({ scope: 'openid read write', resource: 'https://one.example' });
    const narrow = await oidc.refreshTokenGrant(config, token, { scope: 'read' });
    expect(narrow.scope).toBe('read');
    const api = await fetch(provider.apiUrl, { headers: { authorization: `Bearer ${narrow.access_token}` } });
    expect(await api.json()).toMatchObject({ scope: 'read', resources: ['https://one.example'], generation: 2 });
    const next = narrow.refresh_token ?? '';
    expect(await failure(oidc.refreshTokenGrant(config, next, { scope: 'admin' }))).toBe('invalid_scope');
    expect(await failure(oidc.refreshTokenGrant(config, next, { resource: 'https://two.example' }))).toBe(
      'invalid_target',
    );
    provider.configure({ scope: '' });
    expect((await oidc.refreshTokenGrant(config, next)).scope).toBe('');
    provider.configure({ scope: null });
    expect((await login(config)).scope).toBeUndefined();
  });

  it('revokes by RFC 7009 as far as it is told, and keeps a record', async () => {
    const tokens = await login(config);
    await oidc.tokenRevocation(config, tokens.refresh_token ?? '', { token_type_hint: 'refresh_token' });
    expect(provider.revocations).toEqual([
      { token: tokens.refresh_token, hint: 'refresh_token', clientId: 'client', effective: true },
    ]);
    expect(provider.isActive(tokens.access_token)).toBe(false);
    await oidc.tokenRevocation(config, 'unknown');
    expect(provider.revocations[1]).toMatchObject({ effective: false });
    provider.configure({ revocationScope: 'token' });
    const [mine, other] = [await login(config), await login(config)];
    await oidc.tokenRevocation(config, mine.access_token);
    expect([mine.access_token, mine.refresh_token ?? ''].map((token) => provider.isActive(token))).toEqual([
      false,
      true,
    ]);
    provider.configure({ revocationScope: 'user' });
    await oidc.tokenRevocation(config, mine.refresh_token ?? '');
    expect(provider.isActive(other.access_token)).toBe(false);
  });

  it('withdraws a user’s consent and expires access tokens on demand', async () => {
    provider.user({ sub: 'alice' });
    const tokens = await login(config);
    provider.expireAccessTokens('somebody-else');
    expect(provider.isActive(tokens.access_token)).toBe(true);
    provider.expireAccessTokens();
    const answer = await fetch(provider.apiUrl, { headers: { authorization: `Bearer ${tokens.access_token}` } });
    expect([answer.status, answer.headers.get('www-authenticate')]).toEqual([401, 'Bearer error="invalid_token"']);
    const fresh = await oidc.refreshTokenGrant(config, tokens.refresh_token ?? '');
    expect(provider.isActive(fresh.access_token)).toBe(true);
    provider.revokeUser('alice');
    expect(await failure(oidc.refreshTokenGrant(config, fresh.refresh_token ?? ''))).toBe('invalid_grant');
  });

  it('makes big tokens and JWT access tokens', async () => {
    provider.configure({ accessTokenSize: 65_536, codeSize: 4096 });
    expect((await login(config)).access_token.length).toBeGreaterThanOrEqual(65_536);
    provider.configure({ accessTokenSize: 0, accessTokenFormat: 'jwt' });
    const { access_token } = await login(config);
    const [header = '', claims = ''] = access_token.split('.').map((part) => Buffer.from(part, 'base64url').toString());
    expect([JSON.parse(header).typ, JSON.parse(claims).client_id]).toEqual(['at+jwt', 'client']);
    expect(await oidc.fetchUserInfo(config, access_token, 'user-1')).toMatchObject({ sub: 'user-1' });
  });

  const post = async (form: Record<string, string>) => {
    const body = new URLSearchParams({ client_id: 'client', client_secret: 'secret', ...form });
    return fetch(provider.endpoint('token'), { method: 'POST', body });
  };

  it('can answer every refusal of the token endpoint with status 200, as some servers do', async () => {
    provider.configure({ tokenErrorStatus: 200 });
    const refresh = { grant_type: 'refresh_token', refresh_token: 'x' };
    for (const [form, error] of [
      [refresh, 'invalid_grant'],
      [{ ...refresh, client_secret: 'wrong' }, 'invalid_client'],
    ] as const) {
      const answer = await post(form);
      expect([answer.status, await answer.json()]).toEqual([200, expect.objectContaining({ error })]);
    }
  });

  it('withdraws a consent also while its code is on the way', async () => {
    const query = { client_id: 'client', redirect_uri: 'http://localhost/cb', response_type: 'code', scope: 'openid' };
    provider.configure({ pkce: 'optional' });
    const url = `${provider.endpoint('authorize')}?${new URLSearchParams(query)}`;
    const back = new URL((await fetch(url, { redirect: 'manual' })).headers.get('location')!);
    provider.revokeUser('user-1');
    const code = {
      grant_type: 'authorization_code',
      code: back.searchParams.get('code')!,
      redirect_uri: query.redirect_uri,
    };
    expect(await (await post(code)).json()).toMatchObject({ error: 'invalid_grant' });
  });
});
