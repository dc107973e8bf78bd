// Processes that are told to end, or are killed, in the middle of things: what was begun is finished or safely given up.
import { setTimeout as sleep } from 'node:timers/promises';
import { DataSource } from 'typeorm';
import { oauthCacheMigrations, oauthMigrations } from '../../migrations/index.js';
import { freePort } from '../support/app.js';
import { type AppProcess, type AppProcessOptions, startAppProcess } from '../support/app-process.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { startTcpProxy } from '../support/tcp-proxy.js';
import { UserAgent } from '../support/user-agent.js';
import { FakeProvider } from '../../src/testing/index.js';

/** Beyond what is under way, a server waits for connections that are kept alive: 5 s in Node. */
const SHUTDOWN = 9_000;

describe('a process that ends', () => {
  let database: TestDatabase;
  let provider: FakeProvider;
  let options: AppProcessOptions;
  let app: AppProcess;

  beforeEach(async () => {
    [database, provider] = await Promise.all([createTestDatabase(), FakeProvider.start()]);
    options = { port: await freePort(), database: database.url, provider };
  });
  afterEach(async () => {
    await app?.[Symbol.asyncDispose]();
    await provider?.close();
    await database?.drop();
  });

  async function callbackOf(agent: UserAgent): Promise<string> {
    const start = await agent.navigate(`${app.url}/auth/fake/login?returnTo=/me`, { followRedirects: false });
    const back = await agent.navigate(start.headers.get('location')!, { followRedirects: false });
    return back.headers.get('location')!;
  }
  async function loggedIn(): Promise<UserAgent> {
    const agent = new UserAgent();
    expect((await agent.navigate(`${app.url}/auth/fake/login?returnTo=/me`)).status).toBe(200);
    return agent;
  }
  const expire = (): Promise<unknown> =>
    database.query(
      `update oauth_access_tokens set issued_at = now() - interval '2 hours', expires_at = now() - interval '1 hour', refreshed_at = null`,
    );
  const count = async (table: string): Promise<number> =>
    (await database.query<{ n: number }>(`select count(*)::int as n from ${table}`))[0]!.n;

  it('E-060 SIGTERM between exchange and commit: the callback finishes, and the session is good in the next process', async () => {
    app = await startAppProcess(options);
    const agent = new UserAgent();
    const url = await callbackOf(agent);
    const hold = provider.hold('userinfo');
    const callback = agent.navigate(url, { followRedirects: false });
    await hold.arrived;
    const ending = app.end('SIGTERM', SHUTDOWN);
    await sleep(500);
    hold.release();
    const answer = await callback;
    expect([answer.status, answer.headers.get('location')]).toEqual([303, `${app.url}/me`]);
    await ending;
    app = await startAppProcess(options);
    expect((await agent.fetch(`${app.url}/me`)).status).toBe(200);
    expect(provider.requestsTo('code')).toHaveLength(1);
  });

  it('E-060 SIGTERM while the provider is silent: given up in bounds, nothing half done, and a reload has its answer at once', async () => {
    app = await startAppProcess(options);
    const agent = new UserAgent();
    const url = await callbackOf(agent);
    provider.fault('userinfo', { kind: 'stall' });
    // What was issued is revoked behind the answer: the process waits for it.
    provider.fault('revocation', { kind: 'slow', ms: 500 });
    const callback = agent.navigate(url, { followRedirects: false });
    for (let wait = 0; wait < 100 && provider.requestsTo('userinfo').length === 0; wait++) await sleep(20);
    await app.end('SIGTERM', SHUTDOWN);
    expect((await callback).status).toBe(503);
    expect([await count('oauth_sessions'), await count('oauth_grants')]).toEqual([0, 0]);
    provider.clearFaults();
    app = await startAppProcess(options);
    const began = performance.now();
    const again = await agent.navigate(url, { followRedirects: false });
    expect([again.status, performance.now() - began < 2_000]).toEqual([503, true]);
    expect(provider.requestsTo('code')).toHaveLength(1);
    expect(provider.revocations.map(({ hint }) => hint)).toEqual(['refresh_token', 'access_token']);
  });

  it.each([true, false])(
    'E-060 SIGTERM while a refresh holds the lease (its caller still there: %s): the rotated token is written',
    async (waiting) => {
      app = await startAppProcess(options);
      const agent = await loggedIn();
      await expire();
      const hold = provider.hold('refresh');
      const leaving = new AbortController();
      const cookie = `oauth_session=${agent.cookie('oauth_session')}`;
      const call = fetch(`${app.url}/me/api`, { headers: { cookie }, signal: leaving.signal }).then(
        async (answer) => [answer.status, ((await answer.json()) as { status: number }).status],
        () => 'left',
      );
      await hold.arrived;
      if (!waiting) leaving.abort();
      await sleep(100);
      const ending = app.end('SIGTERM', SHUTDOWN);
      await sleep(300);
      hold.release();
      expect(await call).toEqual(waiting ? [200, 200] : 'left');
      await ending;
      const [grant] = await database.query('select version, status, lease_owner from oauth_grants');
      expect(grant).toEqual({ version: 2, status: 'active', lease_owner: null });
      app = await startAppProcess(options);
      await expire();
      expect((await agent.fetch(`${app.url}/me/api`)).json<{ status: number }>().status).toBe(200);
      expect(provider.counters).toMatchObject({ refreshes: 2, refreshReuses: 0, familiesRevoked: 0 });
    },
  );

  it.each(['off', 'coherent'] as const)(
    'E-060 SIGTERM while Postgres is silent, with callback and request under way: it ends (cache: %s)',
    async (cache) => {
      const migrations = [...oauthMigrations, ...oauthCacheMigrations];
      const source = await new DataSource({ type: 'postgres', url: database.url, migrations }).initialize();
      await source.runMigrations();
      await source.destroy();
      await using proxy = await startTcpProxy({ target: database.url });
      app = await startAppProcess({
        ...options,
        database: proxy.urlFor(database.url),
        oauth: { databaseTimeout: 1_000, session: { cache } },
      });
      const [agent, other] = [new UserAgent(), await loggedIn()];
      const url = await callbackOf(agent);
      provider.interpose('userinfo', { before: () => proxy.stall(), times: 1 });
      const callback = agent.navigate(url, { followRedirects: false });
      for (let wait = 0; wait < 100 && provider.requestsTo('userinfo').length < 2; wait++) await sleep(20);
      const request = new UserAgent().fetch(`${app.url}/me`, {
        headers: { cookie: `oauth_session=${'A'.repeat(43)}` },
      });
      await sleep(50);
      await app.end('SIGTERM', SHUTDOWN);
      expect([(await callback).status, (await request).status]).toEqual([503, 503]);
      await proxy.resume();
      await sleep(300);
      expect(await count('oauth_sessions')).toBe(1);
      app = await startAppProcess(options);
      expect((await other.fetch(`${app.url}/me`)).status).toBe(200);
    },
  );

  it('A-070 a revocation that was put off is made after a SIGKILL, by the next process', async () => {
    app = await startAppProcess(options);
    const agent = await loggedIn();
    provider.fault('revocation', { kind: 'status', status: 503, retryAfter: 2 });
    expect((await agent.fetch(`${app.url}/auth/logout`, { method: 'POST' })).status).toBe(200);
    for (let wait = 0; wait < 100 && provider.requestsTo('revocation').length === 0; wait++) await sleep(20);
    await sleep(200);
    await app.end('SIGKILL');
    provider.clearFaults();
    expect(provider.revocations).toEqual([]);
    await sleep(2_000);
    app = await startAppProcess(options);
    for (let wait = 0; wait < 200 && provider.revocations.length === 0; wait++) await sleep(50);
    expect(provider.revocations).toMatchObject([{ hint: 'refresh_token', effective: true }]);
  });

  it('E-060 SIGKILL between exchange and commit: no session, the code is not sent again, and the person is told', async () => {
    app = await startAppProcess(options);
    const agent = new UserAgent();
    const url = await callbackOf(agent);
    const hold = provider.hold('userinfo');
    const callback = agent.navigate(url, { followRedirects: false }).catch(() => null);
    await hold.arrived;
    await app.end('SIGKILL');
    expect(await callback).toBeNull();
    hold.release();
    app = await startAppProcess(options);
    // As after the longest time that a login may take.
    await database.query(`update oauth_states set consumed_at = consumed_at - interval '61 seconds'`);
    const began = performance.now();
    const again = await agent.navigate(url, { followRedirects: false });
    expect([again.status, performance.now() - began < 2_000]).toEqual([400, true]);
    expect(again.body).toContain(`href="${app.url}/auth/fake/login`);
    expect(provider.requestsTo('code')).toHaveLength(1);
    expect(await count('oauth_sessions')).toBe(0);
    await loggedIn();
  });
});
