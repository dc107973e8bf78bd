import { setTimeout as sleep } from 'node:timers/promises';
import { DataSource } from 'typeorm';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { oidcOf, type RunningApp, startApp } from '../support/app.js';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.js';
import { UserAgent } from '../support/user-agent.js';
import { OAuthEvents, SessionService } from '../../src/index.js';
import { oauthCacheMigrations, oauthMigrations } from '../../migrations/index.js';
import { sha256 } from '../../src/crypto/digest.js';
import { SessionCache } from '../../src/sessions/session-cache.service.js';
import { FakeProvider } from '../../src/testing/index.js';

const BOUND = 1;

describe('the coherent cache', () => {
  let database: TestDatabase;
  let provider: FakeProvider;
  let proxy: TcpProxy;
  /** Logs in and revokes. */
  let first: RunningApp;
  /** Listens through a proxy, with a pool of its own. */
  let second: RunningApp;

  beforeAll(async () => {
    [database, provider] = await Promise.all([createTestDatabase(), FakeProvider.start()]);
    const migrations = [...oauthMigrations, ...oauthCacheMigrations];
    const source = await new DataSource({ type: 'postgres', url: database.url, migrations }).initialize();
    await source.runMigrations();
    await source.destroy();
    proxy = await startTcpProxy({ target: database.url });
    const session = { cache: 'coherent' as const, stalenessBound: BOUND };
    first = await startApp({ database: database.url, providers: [oidcOf(provider)], oauth: { session } });
    second = await startApp({
      platform: 'fastify',
      database: database.url,
      providers: [oidcOf(provider)],
      oauth: { session, listen: { url: proxy.urlFor(database.url) } },
    });
    await coherent();
  });
  afterEach(async () => {
    await proxy.resume();
    await coherent();
  });
  afterAll(async () => {
    await first?.close();
    await second?.close();
    await proxy?.close();
    await provider?.close();
    await database?.drop();
  });

  const cacheOf = (app: RunningApp) => app.app.get(SessionCache, { strict: false });
  const coherent = async () => {
    for (let wait = 0; wait < 400 && !(cacheOf(first).isCoherent && cacheOf(second).isCoherent); wait++)
      await sleep(25);
    expect([cacheOf(first).isCoherent, cacheOf(second).isCoherent]).toEqual([true, true]);
  };
  async function login(): Promise<{ cookie: string; id: string; userId: string }> {
    const agent = new UserAgent();
    await agent.navigate(`${first.url}/auth/fake/login?returnTo=/me`);
    const cookie = `oauth_session=${agent.cookie('oauth_session')}`;
    const { user, session } = (await agent.fetch(`${first.url}/me`)).json<{
      user: { id: string };
      session: { id: string };
    }>();
    // The login itself changes the grant, which evicts: wait until that is over, and the session is held for sure.
    const key = sha256(agent.cookie('oauth_session')!).toString('base64');
    for (let wait = 0; wait < 100; wait++) {
      expect(await status(second, cookie)).toBe(200);
      await sleep(20);
      if (!cacheOf(second).isCoherent || cacheOf(second).get(key)) break;
    }
    expect(cacheOf(second).get(key) !== undefined || !cacheOf(second).isCoherent).toBe(true);
    return { cookie, id: session.id, userId: user.id };
  }
  const status = async (app: RunningApp, cookie: string) => {
    const answer = await fetch(`${app.url}/me`, { headers: { cookie } });
    await answer.arrayBuffer();
    return answer.status;
  };
  const untilRefused = async (cookie: string, limit: number) => {
    const began = performance.now();
    while ((await status(second, cookie)) === 200) {
      if (performance.now() - began > limit) return Infinity;
      await sleep(2);
    }
    return performance.now() - began;
  };
  const lookups = async () =>
    Number(
      (
        await database.query(
          `select seq_scan + coalesce(idx_scan, 0) as scans from pg_stat_user_tables where relname = 'oauth_sessions'`,
        )
      )[0]!.scans,
    );

  it('answers from memory without asking the database', async () => {
    const { cookie } = await login();
    await sleep(1200);
    const before = await lookups();
    for (let request = 0; request < 50; request++) expect(await status(second, cookie)).toBe(200);
    await sleep(1200);
    expect(await lookups()).toBe(before);
  });

  it('D-008 sees a revocation by another process in milliseconds', async () => {
    const times: number[] = [];
    for (let round = 0; round < 25; round++) {
      const { cookie, id, userId } = await login();
      await first.app.get(SessionService).end(userId, id);
      expect(await status(first, cookie)).toBe(401);
      times.push(await untilRefused(cookie, 2000));
    }
    times.sort((a, b) => a - b);
    process.stdout.write(
      `revocation seen elsewhere: median ${times[12]!.toFixed(1)} ms, max ${times.at(-1)!.toFixed(1)} ms\n`,
    );
    expect(times[12]).toBeLessThan(50);
  }, 30_000);

  it.each([
    ['delete by id', `delete from oauth_sessions where id = $1::uuid`],
    ['expiry set to now', `update oauth_sessions set expires_at = now() where id = $1::uuid`],
    ['idle expiry brought forward', `update oauth_sessions set idle_expires_at = now() where id = $1::uuid`],
    ['another token', `update oauth_sessions set token_hash = sha256('other') where id = $1::uuid`],
    [
      'the account deleted',
      `delete from oauth_accounts where id = (select account_id from oauth_sessions where id = $1::uuid)`,
    ],
    ['all truncated', `truncate oauth_sessions; select $1`],
    [
      'replication role',
      `set session_replication_role = replica; delete from oauth_sessions; set session_replication_role = origin; select $1`,
    ],
  ])('D-010 sees a change by hand: %s', async (name, sql) => {
    const { cookie, id } = await login();
    if (sql.includes(';')) await database.query(sql.replace(/select \$1/, 'select 1'));
    else await database.query(sql, [id]);
    expect([name, await untilRefused(cookie, 500)]).toEqual([name, expect.any(Number)]);
    expect(await status(second, cookie)).toBe(401);
  });

  it('shows changes of account and grant, and ignores mere extensions', async () => {
    const { cookie, id } = await login();
    const profile = async () =>
      (
        (await (await fetch(`${second.url}/me`, { headers: { cookie } })).json()) as {
          user: { profile: { name: string } };
        }
      ).user.profile.name;
    await database.query(`update oauth_accounts set profile = profile || '{"name":"Renamed"}'`);
    await sleep(100);
    expect(await profile()).toBe('Renamed');
    await database.query(`update oauth_grants set scope = '{openid,changed}'`);
    await sleep(100);
    const { session } = (await (await fetch(`${second.url}/me`, { headers: { cookie } })).json()) as {
      session: { scope: string[] };
    };
    expect(session.scope).toEqual(['openid', 'changed']);
    const size = cacheOf(second).size;
    await database.query(
      `update oauth_sessions set last_seen_at = now(), idle_expires_at = idle_expires_at + interval '1 minute', expires_at = expires_at + interval '1 minute' where id = $1`,
      [id],
    );
    await sleep(200);
    expect(cacheOf(second).size).toBe(size);
  });

  it('D-009 asks the database again when the listening connection is cut, and keeps nothing from before', async () => {
    const { cookie, id } = await login();
    await proxy.refuse();
    proxy.cut();
    await database.query('delete from oauth_sessions where id = $1', [id]);
    expect(await untilRefused(cookie, (BOUND + 0.5) * 1000)).toBeLessThan(BOUND * 1000);
    const other = await login();
    await database.query('delete from oauth_sessions where id = $1', [other.id]);
    expect(await status(second, other.cookie)).toBe(401);
  });

  it('D-009 sees a revocation within the bound when the listening connection is half open', async () => {
    const { cookie, id } = await login();
    proxy.stall();
    await database.query('delete from oauth_sessions where id = $1', [id]);
    expect(await untilRefused(cookie, (BOUND + 1) * 1000)).toBeLessThan((BOUND + 0.2) * 1000);
    const other = await login();
    await database.query('delete from oauth_sessions where id = $1', [other.id]);
    expect(await status(second, other.cookie)).toBe(401);
  });

  it('D-009 sees a revocation within the bound when the listener’s backend is stopped (kill -STOP)', async () => {
    const { cookie, id } = await login();
    // The second application’s listener is the one that came through the proxy; both may be stopped, to be sure.
    const backends = await database.query<{ pid: number }>(
      `select pid from pg_stat_activity where datname = current_database() and query ilike 'listen%' and pid <> pg_backend_pid()`,
    );
    expect(backends.length).toBeGreaterThanOrEqual(2);
    for (const { pid } of backends) process.kill(pid, 'SIGSTOP');
    try {
      await database.query('delete from oauth_sessions where id = $1', [id]);
      expect(await untilRefused(cookie, (BOUND + 1) * 1000)).toBeLessThan((BOUND + 0.2) * 1000);
    } finally {
      for (const { pid } of backends) process.kill(pid, 'SIGCONT');
    }
  });

  it('D-009 recovers when the server ends all connections, as at a restart', async () => {
    const { cookie, id } = await login();
    await database.query(
      `select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()`,
    );
    await sleep(300);
    await coherent();
    expect(await status(second, cookie)).toBe(200);
    await database.query('delete from oauth_sessions where id = $1', [id]);
    expect(await untilRefused(cookie, 500)).toBeLessThan(500);
  });

  it('believes nothing that it knew before the machine was suspended', async () => {
    const { cookie } = await login();
    expect(await status(second, cookie)).toBe(200);
    const cache = cacheOf(second);
    expect(cache.size).toBeGreaterThan(0);
    await sleep(2 * BOUND * 250 + 100);
    const now = performance.now.bind(performance);
    try {
      // Twenty seconds pass that the monotonic clock does not know of.
      performance.now = () => now() - 20_000;
      for (let wait = 0; wait < 200 && cache.size > 0; wait++) await sleep(10);
      expect(cache.size).toBe(0);
    } finally {
      performance.now = now;
    }
  });

  it('D-009 asks the database while listen.url leads to another one', async () => {
    const other = await createTestDatabase();
    const astray = await startApp({
      database: database.url,
      providers: [oidcOf(provider)],
      oauth: { session: { cache: 'coherent', stalenessBound: BOUND }, listen: { url: other.url } },
    });
    const { cookie, id } = await login();
    await sleep(300);
    expect([await status(astray, cookie), await status(astray, cookie)]).toEqual([200, 200]);
    await database.query('delete from oauth_sessions where id = $1', [id]);
    expect(await status(astray, cookie)).toBe(401);
    await astray.close();
    await other.drop();
  });

  it('a lookup that races an eviction does not store the stale row', async () => {
    const { id } = await login();
    const cache = cacheOf(second);
    const found = {
      record: { id, expires_at: Date.now() + 1e6, idle_expires_at: Date.now() + 1e7 },
      clock: 0,
    } as never;
    cache.clear();
    for (const between of [() => cache.evict(id), () => cache.clear()]) {
      const ticket = cache.open();
      between();
      cache.store(ticket, 'key', found);
      cache.close(ticket);
      expect(cache.size).toBe(0);
    }
    const ticket = cache.open();
    cache.store(ticket, 'key', found);
    cache.close(ticket);
    expect(cache.size).toBe(1);
    cache.clear();
  });

  it('keeps no answer for cookies that stand for nothing', async () => {
    const before = cacheOf(second).size;
    for (let count = 0; count < 50; count++)
      expect(
        await status(second, `oauth_session=${Buffer.from(String(count).padStart(32)).toString('base64url')}`),
      ).toBe(401);
    expect(cacheOf(second).size).toBe(before);
  });

  it('refuses to start without the triggers', async () => {
    const bare = await createTestDatabase();
    await expect(
      startApp({ database: bare.url, providers: [oidcOf(provider)], oauth: { session: { cache: 'coherent' } } }),
    ).rejects.toThrow(/oauthCacheMigrations/);
    await bare.drop();
  });

  it.each(['disable', 'enable'])(
    'D-010 refuses to start with a trigger that is not enabled always (%s)',
    async (how) => {
      const other = await createTestDatabase();
      const migrations = [...oauthMigrations, ...oauthCacheMigrations];
      const source = await new DataSource({ type: 'postgres', url: other.url, migrations }).initialize();
      await source.runMigrations();
      await source.destroy();
      await other.query(`alter table oauth_sessions ${how} trigger oauth_sessions_deleted`);
      const started = startApp({
        database: other.url,
        providers: [oidcOf(provider)],
        oauth: { session: { cache: 'coherent' } },
      });
      await expect(started).rejects.toThrow(/enable always trigger/);
      await other.drop();
    },
  );

  it('D-010 answers from memory only while all triggers are enabled always, and raises an alarm', async () => {
    const { cookie, id } = await login();
    const alarms: string[] = [];
    const off = second.app.get(OAuthEvents, { strict: false }).on('alarm', ({ code }) => void alarms.push(code));
    await database.query('alter table oauth_sessions disable trigger oauth_sessions_deleted');
    try {
      await cacheOf(second).checkTriggers();
      await cacheOf(second).checkTriggers();
      expect([cacheOf(second).isCoherent, alarms]).toEqual([false, ['cache_triggers']]);
      expect(await status(second, cookie)).toBe(200);
      await database.query('delete from oauth_sessions where id = $1', [id]);
      expect(await status(second, cookie)).toBe(401);
    } finally {
      off();
      await database.query('alter table oauth_sessions enable always trigger oauth_sessions_deleted');
    }
    await cacheOf(second).checkTriggers();
    expect(cacheOf(second)).toMatchObject({ isCoherent: true, size: 0 });
  });

  it('the migration can be undone', async () => {
    const other = await createTestDatabase();
    const migrations = [...oauthMigrations, ...oauthCacheMigrations];
    const source = await new DataSource({ type: 'postgres', url: other.url, migrations }).initialize();
    await source.runMigrations();
    await source.undoLastMigration();
    expect(await other.query(`select tgname from pg_trigger where not tgisinternal`)).toEqual([]);
    expect(await other.query(`select proname from pg_proc where proname like 'oauth%'`)).toEqual([]);
    await source.destroy();
    await other.drop();
  });
});
