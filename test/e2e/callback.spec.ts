// The callback when the provider fails, and what must never happen then. For the database see database-faults.spec.ts.
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort, MeController, oidcOf, platforms, startApp } from '../support/app.js';
import { codeOf, type LoginFixture, startLogin } from '../support/login-fixture.js';

describe.each(platforms)('a provider that fails on %s', (platform) => {
  let at: LoginFixture;

  beforeAll(async () => {
    at = await startLogin({ platform, providers: (provider) => [oidcOf(provider, { timeout: 1000 })] });
  });
  afterAll(() => at?.close());
  beforeEach(() => at.provider.reset());

  it.each([
    ['an unparsable answer', { kind: 'html' }, 502],
    ['an error', { kind: 'status', status: 500 }, 502],
    ['silence', { kind: 'stall' }, 503],
    ['a reset', { kind: 'reset' }, 503],
    ['an array', { kind: 'array' }, 502],
    ['null', { kind: 'null' }, 502],
    ['a redirect', { kind: 'redirect', withJson: true }, 502],
    ['a rejected client', { kind: 'oauthError', error: 'invalid_client', status: 401 }, 502],
    ['a rejected code', { kind: 'oauthError', error: 'invalid_grant' }, 400],
  ] as const)(
    'answers %s of the token endpoint with a stable code, once, without a session',
    async (_, fault, status) => {
      const agent = at.agent();
      const url = await at.untilCallback(agent);
      const sessions = await at.count('oauth_sessions');
      at.provider.fault('code', fault);
      const answer = await at.callback(agent, url);
      expect(answer.status).toBe(status);
      expect(codeOf(answer)).toMatch(/^[a-z_]+$/);
      expect(at.provider.requestsTo('token')).toHaveLength(1);
      expect(await at.count('oauth_sessions')).toBe(sessions);
      expect(await at.status(agent)).toBe(401);
    },
  );

  it.each([
    ['scope', { scope: 'a\u0000b' }],
    ['scope', { scope: ['a'] }],
    ['access_token', { access_token: 'a\r\nb' }],
    ['access_token', { access_token: ['a'] }],
    ['access_token', { access_token: '' }],
    ['refresh_token', { refresh_token: 'ü' }],
  ])('refuses a token answer whose %s is odd', async (_, members) => {
    at.provider.tamper('tokenResponse', (body) => ({ ...body, ...members }));
    const sessions = await at.count('oauth_sessions');
    const answer = await at.login(at.agent());
    expect([answer.status, codeOf(answer)]).toEqual([502, 'invalid_token_response']);
    expect(await at.count('oauth_sessions')).toBe(sessions);
  });

  it.each([
    ['name', 'a\u0000b'],
    ['name', 'a\ud800b'],
    ['sid', 'a\u0000b'],
    ['acr', '\udfff'],
    ['amr', ['pwd', 'a\u0000b', '\ud800', 5]],
    ['amr', 'pwd'],
    ['auth_time', 1e300],
    ['session_expiry', -1],
    ['picture', 'javascript:alert(1)'],
  ])('survives an odd %s in the ID token', async (claim, value) => {
    at.provider.configure({ claimsInIdToken: true });
    at.provider.tamper('idToken', (claims) => ({ ...claims, [claim]: value }));
    expect((await at.login(at.agent())).status).toBe(303);
  });

  it('A-114 takes no notice of session_state', async () => {
    for (const value of ['x', '../../etc', '%00', 'a'.repeat(2_000)]) {
      const agent = at.agent();
      const url = await at.untilCallback(agent, '?returnTo=/me');
      url.searchParams.append('session_state', value);
      const answer = await at.callback(agent, url);
      expect([answer.status, answer.headers.get('location')]).toEqual([303, `${at.app.url}/me`]);
      expect(answer.headers.get('location')).not.toContain('session_state');
    }
  });

  it('refuses a session that the provider says is over already, instead of sending the browser in circles', async () => {
    at.provider.tamper('idToken', (claims) => ({ ...claims, session_expiry: Math.floor(Date.now() / 1000) - 1 }));
    const [agent, sessions] = [at.agent(), await at.count('oauth_sessions')];
    const answer = await at.login(agent);
    expect([answer.status, codeOf(answer), answer.setCookies]).toEqual([502, 'invalid_id_token', []]);
    expect(await at.count('oauth_sessions')).toBe(sessions);
  });

  it.each(['\ud800', 'a\u0000', '', 'x'.repeat(256)])('refuses the subject %j, and merges nobody', async (sub) => {
    at.provider.tamper('idToken', (claims) => ({ ...claims, sub }));
    at.provider.tamper('userinfo', (claims) => ({ ...claims, sub }));
    const accounts = await at.count('oauth_accounts');
    expect((await at.login(at.agent())).status).toBe(502);
    expect(await at.count('oauth_accounts')).toBe(accounts);
  });

  it('a failure after the exchange revokes what was issued', async () => {
    at.provider.user({ sub: 'revoked-user' });
    at.provider.fault('userinfo', { kind: 'status', status: 500 });
    const answer = await at.login(at.agent());
    expect(answer.status).toBe(502);
    // Revocations run behind the answer: those of the test before may still be arriving.
    const own = new Set(at.provider.issued.filter(({ sub }) => sub === 'revoked-user').map(({ value }) => value));
    const hints = () => at.provider.revocations.filter(({ token }) => own.has(token)).map(({ hint }) => hint);
    for (let wait = 0; wait < 200 && hints().length < 2; wait++) await sleep(50);
    expect(hints().sort()).toEqual(['access_token', 'refresh_token']);
  });

  it('E-103 away at login: 503, no row, and it works once the provider is back', async () => {
    const port = await freePort();
    await at.provider.goDown();
    const states = await at.count('oauth_states');
    const fresh = await startApp({ platform, port, database: at.database.url, providers: [oidcOf(at.provider)] });
    try {
      const agent = at.agent();
      const answer = await agent.navigate(`${fresh.url}/auth/fake/login`, { followRedirects: false });
      expect([answer.status, codeOf(answer)]).toEqual([503, 'provider_unavailable']);
      expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0);
      expect(await at.count('oauth_states')).toBe(states);
      await at.provider.comeBack();
      MeController.apiUrl = `${at.provider.apiUrl}/me`;
      expect((await agent.navigate(`${fresh.url}/auth/fake/login?returnTo=/me`)).status).toBe(200);
    } finally {
      await fresh.close();
    }
  });
});
