// State, browser binding, provider binding and `iss`: who may finish a login, and how often.
import { platforms } from '../support/app.js';
import { codeOf, type LoginFixture, startLogin, withParams } from '../support/login-fixture.js';
import { FakeProvider } from '../../src/testing/index.js';
import { oidcOf } from '../support/app.js';

describe.each(platforms)('a pending login on %s', (platform) => {
  let at: LoginFixture;
  let other: FakeProvider;

  beforeAll(async () => {
    other = await FakeProvider.start();
    at = await startLogin({
      platform,
      providers: (provider) => [oidcOf(provider), oidcOf(other, { name: 'other' })],
    });
  });
  afterAll(async () => {
    await at?.close();
    await other?.close();
  });
  beforeEach(() => {
    at.provider.reset();
    other.reset();
  });

  /** Nothing was sent to a token endpoint, and nobody was logged in. */
  async function nothingHappened(sessionsBefore: number): Promise<void> {
    expect(at.provider.requestsTo('token')).toHaveLength(0);
    expect(other.requestsTo('token')).toHaveLength(0);
    expect(await at.count('oauth_sessions')).toBe(sessionsBefore);
  }

  it.each(['with an empty jar', 'with a pending login of its own', 'that is logged in'])(
    'A-002 A-122 refuses a callback in a browser that did not begin the login, %s; the one that did can still finish',
    async (victim) => {
      const [agentA, agentV] = [at.agent(), at.agent()];
      const url = await at.untilCallback(agentA, '?returnTo=/a');
      if (victim === 'with a pending login of its own') await at.begin(agentV);
      if (victim === 'that is logged in') await at.login(agentV);
      const cookies = agentV.cookies.map(({ name, value }) => [name, value]);
      const sessions = await at.count('oauth_sessions');
      at.provider.clearRequests();
      const answer = await at.callback(agentV, url);
      expect([answer.status, answer.headers.get('location')]).toEqual([400, null]);
      expect(agentV.cookies.map(({ name, value }) => [name, value])).toEqual(cookies);
      await nothingHappened(sessions);
      expect(await at.status(agentV)).toBe(victim === 'that is logged in' ? 200 : 401);
      const own = await at.callback(agentA, url);
      expect([own.status, own.headers.get('location')]).toEqual([303, `${at.app.url}/a`]);
      expect(await at.status(agentA)).toBe(200);
    },
  );

  it('A-003 A-047 a mix-up leads nowhere: no code of one provider reaches another', async () => {
    for (const route of ['fake', 'other']) {
      const agent = at.agent();
      at.provider.mixUp({ authorizationEndpoint: other.endpoint('authorize'), clientId: 'client' });
      const authorize = await at.begin(agent);
      const answer = await at.consent(authorize);
      const url = await at.consent(answer);
      url.pathname = `/auth/${route}/callback`;
      const sessions = await at.count('oauth_sessions');
      expect((await at.callback(agent, url)).status).toBe(400);
      await nothingHappened(sessions);
      at.provider.mixUp(undefined);
    }
  });

  it.each([
    ['of another provider', () => other.issuer],
    ['with a trailing slash', () => `${at.provider.issuer}/`],
    ['in another case', () => at.provider.issuer.toUpperCase()],
    ['percent-encoded', () => at.provider.issuer.replace('localhost', '%6cocalhost')],
    ['that is empty', () => ''],
  ])('A-004 A-050 refuses an issuer %s, advertised or not', async (_, iss) => {
    for (const advertised of [true, false]) {
      at.provider.configure({ metadata: { authorization_response_iss_parameter_supported: advertised } });
      const agent = at.agent();
      const url = withParams(await at.untilCallback(agent), { iss: iss() });
      const sessions = await at.count('oauth_sessions');
      const answer = await at.callback(agent, url);
      expect([answer.status, codeOf(answer)]).toEqual([400, 'issuer_mismatch']);
      await nothingHappened(sessions);
    }
  });

  it('A-049 refuses an answer without the advertised iss', async () => {
    const agent = at.agent();
    const answer = await at.callback(agent, withParams(await at.untilCallback(agent), { iss: null }));
    expect([answer.status, codeOf(answer)]).toEqual([400, 'issuer_mismatch']);
    expect(at.provider.requestsTo('token')).toHaveLength(0);
  });

  it('A-005 refuses an answer at the callback of another provider', async () => {
    const agent = at.agent();
    const url = await at.untilCallback(agent);
    const elsewhere = new URL(url);
    elsewhere.pathname = '/auth/other/callback';
    for (const changed of [elsewhere, withParams(elsewhere, { iss: other.issuer })]) {
      expect((await at.callback(agent, changed)).status).toBe(400);
    }
    expect(other.requestsTo('token')).toHaveLength(0);
    expect((await at.callback(agent, url)).status).toBe(303);
  });

  it('A-006 A-008 A-010 A-013 A-073 draws state, challenge and nonce anew for each login, and asks for S256 and a code', async () => {
    at.provider.configure({ metadata: { code_challenge_methods_supported: undefined } });
    const seen = new Set<string>();
    const agent = at.agent();
    for (let round = 0; round < 100; round++) {
      const { searchParams } = await at.begin(agent);
      expect(searchParams.get('code_challenge_method')).toBe('S256');
      expect(searchParams.get('response_type')).toBe('code');
      for (const name of ['state', 'nonce', 'code_challenge']) {
        expect(searchParams.get(name)).toMatch(/^[A-Za-z0-9_-]{43}$/);
        seen.add(searchParams.get(name)!);
      }
    }
    expect(seen.size).toBe(300);
  });

  it('A-007 A-012 an injected code is useless, even where the provider ignores PKCE', async () => {
    for (const pkce of ['required', 'ignored'] as const) {
      at.provider.configure({ pkce });
      const [agentA, agentV] = [at.agent(), at.agent()];
      const stolen = (await at.untilCallback(agentV)).searchParams.get('code')!;
      const own = await at.untilCallback(agentA);
      const sessions = await at.count('oauth_sessions');
      const answer = await at.callback(agentA, withParams(own, { code: stolen }));
      expect(answer.status).toBeGreaterThanOrEqual(400);
      expect(await at.count('oauth_sessions')).toBe(sessions);
    }
  });

  it('A-009 a wrong nonce ends the login before any token is used', async () => {
    const agent = at.agent();
    at.provider.tamper('idToken', (claims) => ({ ...claims, nonce: 'another' }));
    const url = await at.untilCallback(agent);
    const [sessions, tokens] = [await at.count('oauth_sessions'), await at.count('oauth_access_tokens')];
    const answer = await at.callback(agent, url);
    expect([answer.status, codeOf(answer)]).toEqual([502, 'invalid_id_token']);
    expect(at.provider.requestsTo('userinfo')).toHaveLength(0);
    expect([await at.count('oauth_sessions'), await at.count('oauth_access_tokens')]).toEqual([sessions, tokens]);
  });

  it('A-011 A-035 D-039 near misses of a state all look alike, and none spends it', async () => {
    const agent = at.agent();
    const url = await at.untilCallback(agent, '?returnTo=/secret-place');
    const state = url.searchParams.get('state')!;
    const misses = [
      ...Array.from({ length: 43 }, (_, index) => flipped(state, index)),
      ...[state.slice(0, -1), `${state}A`, `${state} `, ` ${state}`, `${state}+`, `${state}=`, `${state}\u0301`],
      ...[state.toUpperCase(), state.toLowerCase(), 'x', '0', state.slice(10), `${state}${state}`, 'ſ'.repeat(43)],
    ].filter((miss) => miss !== state);
    const answers = [];
    for (const miss of misses) answers.push(await at.callback(agent, withParams(url, { state: miss })));
    expect(new Set(answers.map((answer) => answer.status))).toEqual(new Set([400]));
    expect(new Set(answers.map((answer) => codeOf(answer)))).toEqual(new Set(['invalid_state']));
    const pages = answers.map((answer) => answer.body.replace(/[0-9a-f-]{36}/, ''));
    expect(new Set(pages).size).toBe(1);
    expect(pages[0]).not.toContain('secret-place');
    expect(at.provider.requestsTo('token')).toHaveLength(0);
    expect((await at.callback(agent, url)).headers.get('location')).toBe(`${at.app.url}/secret-place`);
  });

  it('D-039 near misses of a browser cookie look alike', async () => {
    const agent = at.agent();
    const url = await at.untilCallback(agent);
    const browser = agent.cookie('oauth_browser')!;
    const answers = [];
    for (const miss of [
      flipped(browser, 0),
      flipped(browser, 42),
      browser.slice(1),
      `${browser}A`,
      '"',
      'x'.repeat(500),
    ]) {
      answers.push(await agent.request({ url: url.href, headers: { cookie: `oauth_browser=${miss}` } }));
    }
    expect(new Set(answers.map((answer) => `${answer.status} ${codeOf(answer)}`))).toEqual(
      new Set(['400 invalid_state']),
    );
    expect((await at.callback(agent, url)).status).toBe(303);
  });

  it.each([
    '',
    '?',
    '?foo=bar',
    '?state=',
    '?code=',
    '?state=&code=',
    '?code=x',
    '?error=access_denied',
    '?error=access_denied&state=wrong',
    '?state=wrong',
  ])('A-029 A-036 E-055 refuses a callback with %j, asks nobody, and starts nothing', async (query) => {
    const agent = at.agent();
    const url = await at.untilCallback(agent);
    const states = await at.count('oauth_states');
    at.provider.clearRequests();
    const answer = await at.callback(agent, `${at.app.url}/auth/fake/callback${query}`);
    expect([answer.status, answer.headers.get('location')]).toEqual([400, null]);
    expect(at.provider.requests).toHaveLength(0);
    expect(await at.count('oauth_states')).toBe(states);
    expect((await at.callback(agent, url)).status).toBe(303);
  });

  it.each(['code', 'state', 'iss', 'error'])(
    'A-029 refuses a repeated %s, without spending the login',
    async (name) => {
      const agent = at.agent();
      const url = await at.untilCallback(agent);
      for (const value of [url.searchParams.get(name) ?? 'access_denied', 'other']) {
        const repeated = new URL(url);
        if (name === 'error') repeated.searchParams.append(name, 'access_denied');
        repeated.searchParams.append(name, value);
        const answer = await at.callback(agent, repeated);
        expect([answer.status, codeOf(answer)]).toEqual([400, 'invalid_request']);
      }
      expect(at.provider.requestsTo('token')).toHaveLength(0);
      expect((await at.callback(agent, url)).status).toBe(303);
    },
  );

  it('A-013 A-014 refuses what belongs to other flows, and no token is a login', async () => {
    const agent = at.agent();
    const url = await at.untilCallback(agent);
    const { accessToken, idToken } = { accessToken: 'x', idToken: at.provider.sign({ sub: 'user-1', aud: 'client' }) };
    for (const [name, value] of [
      ['access_token', accessToken],
      ['id_token', idToken],
    ] as const) {
      for (const changed of [withParams(url, { [name]: value }), withParams(url, { [name]: value, code: null })]) {
        expect((await at.callback(agent, changed)).status).toBe(400);
      }
    }
    const headers = { authorization: `Bearer ${idToken}` };
    expect((await agent.request({ url: `${at.app.url}/me`, headers: { ...headers, cookie: '' } })).status).toBe(401);
    expect((await at.callback(agent, url)).status).toBe(303);
  });

  it('A-034 ignores unknown parameters and takes a code of 4 KB, but not more than 8 KB', async () => {
    at.provider.configure({ codeSize: 4096 });
    const agent = at.agent();
    const url = withParams(await at.untilCallback(agent), { foo: 'bar', session_state: 'x' });
    expect(url.searchParams.get('code')!.length).toBeGreaterThanOrEqual(4096);
    const long = await at.callback(agent, withParams(url, { code: 'c'.repeat(8192) }));
    expect([long.status, codeOf(long)]).toEqual([400, 'invalid_request']);
    expect((await at.callback(agent, url)).status).toBe(303);
  });

  it('A-036 believes an error only with the right state, and then only its code', async () => {
    const agent = at.agent();
    const url = withParams(await at.untilCallback(agent), {
      code: null,
      error: 'access_denied',
      error_description: '<script>alert(1)</script>',
    });
    const answer = await at.callback(agent, url);
    expect([answer.status, codeOf(answer)]).toEqual([403, 'access_denied']);
    expect(answer.body).not.toContain('alert(1)');
    expect((await at.callback(agent, url)).status).toBe(403);
    expect(at.provider.requestsTo('token')).toHaveLength(0);
  });

  it.each([
    ['access_denied', 403, 'access_denied'],
    ['login_required', 403, 'login_required'],
    ['consent_required', 403, 'consent_required'],
    ['interaction_required', 403, 'interaction_required'],
    ['account_selection_required', 403, 'account_selection_required'],
    ['server_error', 502, 'provider_error'],
    ['temporarily_unavailable', 503, 'provider_unavailable'],
    ['toString', 403, 'authorization_refused'],
    ['<b>', 403, 'authorization_refused'],
  ])('A-036 A-075 answers the error %s with %i %s', async (error, status, code) => {
    const agent = at.agent();
    const answer = await at.callback(agent, withParams(await at.untilCallback(agent), { code: null, error }));
    expect([answer.status, codeOf(answer)]).toEqual([status, code]);
  });

  it('A-048 a denial with a wrong iss is no denial', async () => {
    const agent = at.agent();
    const url = withParams(await at.untilCallback(agent), { code: null, error: 'access_denied', iss: other.issuer });
    const answer = await at.callback(agent, url);
    expect([answer.status, codeOf(answer)]).toEqual([400, 'issuer_mismatch']);
  });

  it('A-050 refuses an ID token of another issuer where iss was right', async () => {
    at.provider.tamper('idToken', (claims) => ({ ...claims, iss: other.issuer }));
    const agent = at.agent();
    const sessions = await at.count('oauth_sessions');
    expect((await at.login(agent)).status).toBe(502);
    expect(await at.count('oauth_sessions')).toBe(sessions);
  });

  it('A-020 a state dies with its first use, also after a failed exchange', async () => {
    const agent = at.agent();
    const url = await at.untilCallback(agent);
    at.provider.fault('code', { kind: 'status', status: 500, times: 1 });
    expect((await at.callback(agent, url)).status).toBe(502);
    expect((await at.callback(agent, url)).status).toBe(502);
    expect(at.provider.requestsTo('token')).toHaveLength(1);
    expect(await at.status(agent)).toBe(401);
  });

  it('C-002 a failed callback of V leaves no code that A could use', async () => {
    at.provider.configure({ pkce: 'ignored' });
    const [agentA, agentV] = [at.agent(), at.agent()];
    const authorize = await at.begin(agentV);
    for (const name of ['state', 'code_challenge']) {
      const stripped = new URL(authorize);
      stripped.searchParams.delete(name);
      if (name === 'code_challenge') stripped.searchParams.delete('code_challenge_method');
      const url = await at.consent(stripped);
      at.provider.clearRequests();
      if (name === 'state') expect((await at.callback(agentV, url)).status).toBe(400);
      expect((await at.callback(agentA, url)).status).toBe(400);
      expect(at.provider.requestsTo('token')).toHaveLength(0);
    }
  });

  it('C-003 no kind of secret is accepted as another', async () => {
    const agent = at.agent();
    const url = await at.untilCallback(agent);
    const { searchParams } = url;
    const browser = agent.cookie('oauth_browser')!;
    const pending = await at.begin(agent);
    for (const secret of [
      browser,
      searchParams.get('state')!,
      searchParams.get('code')!,
      pending.searchParams.get('nonce')!,
    ]) {
      const answer = await agent.request({ url: `${at.app.url}/me`, headers: { cookie: `oauth_session=${secret}` } });
      expect(answer.status).toBe(401);
    }
    await at.callback(agent, url);
    const session = agent.cookie('oauth_session')!;
    const again = await at.untilCallback(agent);
    const answer = await agent.request({ url: again.href, headers: { cookie: `oauth_browser=${session}` } });
    expect(answer.status).toBe(400);
  });

  it('E-053 a login that took too long is refused by the clock of the database, with a link to a new one', async () => {
    const agent = at.agent();
    const url = await at.untilCallback(agent);
    await at.database.query(
      `update oauth_states set expires_at = now() - interval '1 second' where consumed_at is null`,
    );
    const answer = await at.callback(agent, url);
    expect([answer.status, codeOf(answer)]).toEqual([400, 'invalid_state']);
    expect(answer.body).toContain(`href="${at.app.url}/auth/fake/login`);
    expect(at.provider.requestsTo('token')).toHaveLength(0);
  });

  it('E-053 a state lives for five minutes', async () => {
    await at.begin(at.agent());
    const [row] = await at.database.query<{ seconds: number }>(
      `select extract(epoch from expires_at - created_at)::int as seconds from oauth_states order by created_at desc limit 1`,
    );
    expect(row!.seconds).toBe(300);
  });

  it('E-054 without cookies there is help and no loop', async () => {
    const agent = at.agent();
    const url = await at.untilCallback(agent);
    agent.jar.clear();
    const answer = await agent.navigate(url.href);
    expect([answer.status, codeOf(answer), answer.hops.length]).toEqual([400, 'cookies_blocked', 1]);
    expect(answer.body).toContain(`href="${at.app.url}/auth/fake/login`);
  });

  it('E-049 E-051 D-015 ten tabs log in at once with one cookie, and each comes to its own page', async () => {
    const agent = at.agent();
    await at.begin(agent);
    const browser = agent.cookie('oauth_browser');
    const urls = await Promise.all(
      Array.from({ length: 10 }, (_, tab) => at.untilCallback(agent, `?returnTo=/tab/${tab}`)),
    );
    const answers = await Promise.all(urls.map((url) => at.callback(agent, url)));
    expect(answers.map((answer) => answer.headers.get('location'))).toEqual(
      answers.map((_, tab) => `${at.app.url}/tab/${tab}`),
    );
    expect(agent.cookies.map(({ name }) => name).sort()).toEqual(['oauth_browser', 'oauth_session']);
    expect(agent.cookie('oauth_browser')).toBe(browser);
    expect(await at.status(agent)).toBe(200);
  });

  it('E-058 logins that are never finished make no sessions', async () => {
    const [sessions, accounts] = [await at.count('oauth_sessions'), await at.count('oauth_accounts')];
    await Promise.all(Array.from({ length: 20 }, () => at.begin(at.agent())));
    expect([await at.count('oauth_sessions'), await at.count('oauth_accounts')]).toEqual([sessions, accounts]);
  });

  it('keeps no verifier and no nonce once a state was used', async () => {
    const agent = at.agent();
    await at.login(agent);
    const rows = await at.database.query(
      `select payload from oauth_states where consumed_at is not null and payload is not null`,
    );
    expect(rows).toEqual([]);
  });
});

/** The text with another character at one place, of the same alphabet. */
function flipped(text: string, index: number): string {
  const replacement = text[index] === 'A' ? 'E' : 'A';
  return text.slice(0, index) + replacement + text.slice(index + 1);
}
