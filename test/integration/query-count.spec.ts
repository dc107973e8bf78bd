// How many statements reach Postgres: counted on the wire, whatever library sends them.
import { setTimeout as sleep } from 'node:timers/promises';
import { createTestDatabase } from '../support/database.js';
import { type LoginFixture, startLogin } from '../support/login-fixture.js';
import { type QueryLog, startQueryLog } from '../support/query-log.js';
import { MeController, TokenController } from '../support/app.js';

describe.each([
  ['without onLogin', undefined, 0],
  ['with onLogin', () => 'user-1', 1],
])('statements of a login %s', (_, onLogin, more) => {
  let at: LoginFixture;
  let log: QueryLog;

  beforeAll(async () => {
    const server = await createTestDatabase({ from: 'empty' });
    log = await startQueryLog({ url: server.url });
    await server.drop();
    at = await startLogin({
      through: (url) => Object.assign(new URL(log.url), { pathname: new URL(url).pathname }).href,
      controllers: [MeController, TokenController],
      oauth: { cleanup: false, ...(onLogin ? { onLogin } : {}) },
    });
    // Connections are opened and described once.
    await at.login(at.agent());
    await sleep(200);
  });
  afterAll(async () => {
    await at?.close();
    await log?.close();
  });

  /** The statements that a step sends, also shortly after it. */
  async function statementsOf(step: () => Promise<unknown>): Promise<string[]> {
    log.clear();
    await step();
    await sleep(150);
    return log.statements.map(({ sql }) => sql.trim().replace(/\s+/g, ' '));
  }

  it('login: one', async () => {
    const agent = at.agent();
    expect(await statementsOf(() => at.begin(agent))).toEqual([expect.stringContaining('insert into oauth_states')]);
    expect(await statementsOf(() => at.begin(agent))).toHaveLength(1);
  });

  it('callback: two beyond BEGIN, locks and COMMIT, in two round trips; COMMIT is one more where an older session ends', async () => {
    const agent = at.agent();
    at.provider.user({ sub: 'new' });
    for (const [browser, roundTrips] of [
      [agent, 2],
      [agent, 3],
      [at.agent(), 2],
    ] as const) {
      const url = await at.untilCallback(browser);
      const statements = await statementsOf(() => at.callback(browser, url));
      // onLogin is told of the account and of whoever is logged in: one question each.
      const around = /^(begin isolation level read committed|select pg_advisory_xact_lock\(\$1::bigint\)|commit)$/;
      expect(statements.filter((sql) => !around.test(sql)).length).toBeLessThanOrEqual(2 + 2 * more);
      if (more === 0) {
        expect(statements.map((sql) => sql.split(' ', 2).join(' '))).toEqual([
          'with pending',
          'begin isolation',
          // of the session at the provider, and of the identity
          'select pg_advisory_xact_lock($1::bigint)',
          'select pg_advisory_xact_lock($1::bigint)',
          'with logged_out',
          'commit',
        ]);
        expect(log.roundTrips).toBe(roundTrips);
      }
    }
  });

  it('a guarded request: one, named and prepared; twenty at once: fewer than twenty', async () => {
    const agent = at.agent();
    await at.login(agent);
    await at.status(agent);
    for (let round = 0; round < 5; round++) {
      const statements = await statementsOf(() => at.status(agent));
      expect(statements).toHaveLength(1);
    }
    expect(log.statements[0]!.name).toMatch(/^oauth_[0-9a-f]{16}$/);
    expect(await statementsOf(() => at.agent().fetch(`${at.app.url}/me`))).toHaveLength(0);
  });

  it('an access token: none from memory, one otherwise', async () => {
    const agent = at.agent();
    await at.login(agent);
    // One of them is the guard's.
    expect(await statementsOf(() => agent.fetch(`${at.app.url}/token`))).toHaveLength(2);
    expect(await statementsOf(() => agent.fetch(`${at.app.url}/token`))).toHaveLength(1);
    expect(await statementsOf(() => agent.fetch(`${at.app.url}/me/api`))).toHaveLength(2);
  });

  it('GET /auth/session: one; an unknown provider, a malformed callback, a missing cookie: none', async () => {
    const agent = at.agent();
    await at.login(agent);
    expect(await statementsOf(() => agent.fetch(`${at.app.url}/auth/session`))).toHaveLength(1);
    for (const path of [
      '/auth/nobody/login',
      '/auth/fake/callback',
      '/auth/fake/callback?state=x&code=y',
      '/auth/login',
    ])
      expect(
        await statementsOf(() => at.agent().navigate(`${at.app.url}${path}`, { followRedirects: false })),
      ).toHaveLength(0);
  });
});
