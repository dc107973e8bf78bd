// The callback when the database or the provider fails, and what must never happen then.
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort, MeController, oidcOf, platforms, startApp } from '../support/app.js';
import { createTestDatabase } from '../support/database.js';
import { codeOf, type LoginFixture, startLogin } from '../support/login-fixture.js';
import { startQueryLog, type QueryLog } from '../support/query-log.js';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.js';

describe.each(platforms)('a database that fails on %s', (platform) => {
  let at: LoginFixture;
  let proxy: TcpProxy;
  let log: QueryLog;

  beforeAll(async () => {
    const database = await createTestDatabase({ from: 'empty' });
    proxy = await startTcpProxy({ target: database.url });
    await database.drop();
    log = await startQueryLog({ url: proxy.urlFor(database.url) });
    at = await startLogin({
      platform,
      // The database of the fixture has another name on the same server.
      through: (url) => Object.assign(new URL(log.url), { pathname: new URL(url).pathname }).href,
      oauth: { databaseTimeout: 1500 },
    });
  });
  afterAll(async () => {
    await at?.close();
    await log?.close();
    await proxy?.close();
  });
  beforeEach(() => at.provider.reset());
  afterEach(async () => {
    log.decide = undefined;
    await proxy.resume();
  });

  async function down(): Promise<void> {
    await proxy.refuse();
    proxy.cut();
  }

  it('E-001 away at login: 503 with Retry-After, and nobody is sent to the provider', async () => {
    for (const fail of [down, async () => proxy.stall()]) {
      await fail();
      const answer = await at.agent().navigate(`${at.app.url}/auth/fake/login`, { followRedirects: false });
      expect([answer.status, codeOf(answer), answer.headers.get('location')]).toEqual([
        503,
        'database_unavailable',
        null,
      ]);
      expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0);
      await proxy.resume();
    }
  });

  it('E-002 away before the state is used: 503, the code not spent; a reload after recovery finishes', async () => {
    const agent = at.agent();
    const url = await at.untilCallback(agent, '?returnTo=/back');
    await down();
    const answer = await at.callback(agent, url);
    expect([answer.status, codeOf(answer)]).toEqual([503, 'database_unavailable']);
    expect(at.provider.requestsTo('token')).toHaveLength(0);
    await proxy.resume();
    const again = await at.callback(agent, url);
    expect([again.status, again.headers.get('location')]).toEqual([303, `${at.app.url}/back`]);
  });

  it.each(['refuses', 'goes silent'])(
    'E-003 a database that %s between exchange and commit: no session, no grant, tokens revoked, try again',
    async (how) => {
      const agent = at.agent();
      const before = [await at.count('oauth_sessions'), await at.count('oauth_grants')];
      at.provider.user({ sub: `e3-${how}` });
      const url = await at.untilCallback(agent);
      at.provider.interpose('userinfo', { before: () => (how === 'refuses' ? down() : proxy.stall()), times: 1 });
      const answer = await at.callback(agent, url);
      expect([answer.status, codeOf(answer)]).toEqual([503, 'database_unavailable']);
      expect(answer.body).toContain('try again');
      for (let wait = 0; wait < 50 && at.provider.revocations.length === 0; wait++) await sleep(200);
      expect(at.provider.revocations.map(({ hint, effective }) => [hint, effective])).toContainEqual([
        'refresh_token',
        true,
      ]);
      await proxy.resume();
      await sleep(300);
      expect([await at.count('oauth_sessions'), await at.count('oauth_grants')]).toEqual(before);
      expect(await at.status(agent)).toBe(401);
      expect(at.provider.requestsTo('token')).toHaveLength(1);
    },
  );

  it.each(['begin', 'with logged_out', 'commit'])(
    'E-004 a connection that dies in the middle (%s) ends the login, sends no code twice, and the pool recovers',
    async (statement) => {
      const agent = at.agent();
      at.provider.user({ sub: `e4-${statement}` });
      const url = await at.untilCallback(agent);
      const sessions = await at.count('oauth_sessions');
      let cuts = 0;
      log.decide = ({ sql }) => (sql.trim().startsWith(statement) && cuts++ === 0 ? 'cut' : 'pass');
      const answer = await at.callback(agent, url);
      expect(cuts).toBeGreaterThan(0);
      expect(answer.status).toBe(503);
      expect(at.provider.requestsTo('token')).toHaveLength(1);
      log.decide = undefined;
      await sleep(200);
      expect(await at.count('oauth_sessions')).toBe(sessions);
      expect((await at.login(agent)).status).toBe(303);
    },
  );

  it('E-004 a pool whose every connection was ended by the server serves the next request', async () => {
    const agent = at.agent();
    await at.login(agent);
    await at.database.query(
      `select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()`,
    );
    expect(await at.status(agent)).toBe(200);
    expect((await at.login(agent)).status).toBe(303);
  });

  it('E-002 a lost answer to the consumption spends nothing at the provider', async () => {
    const agent = at.agent();
    const url = await at.untilCallback(agent);
    log.decide = ({ sql }) => (sql.includes('with pending as') ? 'cut' : 'pass');
    expect((await at.callback(agent, url)).status).toBe(503);
    log.decide = undefined;
    expect(at.provider.requestsTo('token')).toHaveLength(0);
    expect((await at.callback(agent, url)).status).toBe(303);
  });

  it('E-005 deadlocks and serialization failures are tried again, in bounds', async () => {
    const agent = at.agent();
    const trigger = async (code: string, times: number) =>
      at.database.query(`
        create sequence if not exists failures;
        select setval('failures', 1, false);
        create or replace function fail() returns trigger language plpgsql as $$
        begin
          if nextval('failures') <= ${times} then raise exception 'try again' using errcode = '${code}'; end if;
          return new;
        end $$;
        create or replace trigger fail before insert on oauth_sessions for each row execute function fail();`);
    for (const code of ['40001', '40P01']) {
      await trigger(code, 2);
      expect((await at.login(agent)).status).toBe(303);
    }
    await trigger('40001', 100);
    const sessions = await at.count('oauth_sessions');
    const answer = await at.login(agent);
    expect([answer.status, codeOf(answer)]).toEqual([503, 'database_unavailable']);
    await trigger('25006', 100);
    expect((await at.login(agent)).status).toBe(503);
    expect(await at.count('oauth_sessions')).toBe(sessions);
    await at.database.query('drop trigger fail on oauth_sessions');
    expect((await at.login(agent)).status).toBe(303);
  });

  it('C-004 the guard denies while the database is away', async () => {
    const agent = at.agent();
    await at.login(agent);
    await down();
    const answer = await agent.fetch(`${at.app.url}/me`);
    expect([answer.status, codeOf(answer)]).toEqual([503, 'database_unavailable']);
    await proxy.resume();
    expect(await at.status(agent)).toBe(200);
  });
});

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
    for (let wait = 0; wait < 50 && at.provider.revocations.length < 2; wait++) await sleep(50);
    expect(at.provider.revocations.map(({ hint }) => hint)).toEqual(['refresh_token', 'access_token']);
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
