// E-009: what other files say about logins, sessions, logouts and refreshes, once more with every application behind
// PgBouncer in transaction mode, and `listen.url` naming the direct way.
import pg from 'pg';
import { DataSource } from 'typeorm';
import { oauthCacheMigrations, oauthMigrations } from '../../migrations/index.js';
import { oidcOf, poolerOfApps, startApp } from '../support/app.js';
import { createTestDatabase } from '../support/database.js';
import { findPgBouncer, type PgBouncer, startPgBouncer } from '../support/pgbouncer.js';
import { UserAgent } from '../support/user-agent.js';
import { FakeProvider } from '../../src/testing/index.js';
import { Database } from '../../src/database/database.service.js';
import { SessionService } from '../../src/index.js';

// As with the browser tests: missing on somebody's own machine they are passed over by name, in CI they fail.
if (findPgBouncer() === null && !process.env.CI) {
  describe.skip('through PgBouncer (not on this machine: apt-get install pgbouncer, or set PGBOUNCER_PATH)', () => {
    it.todo('runs where it is installed');
  });
} else {
  let bouncer: PgBouncer;
  beforeAll(async () => {
    bouncer = await startPgBouncer();
    poolerOfApps.through = (url) => bouncer.through(url);
  });
  afterAll(async () => {
    delete poolerOfApps.through;
    await bouncer?.[Symbol.asyncDispose]();
  });

  it('E-009 is really in between: a connection of the pool is not the server’s, and statements are not named', async () => {
    await using database = await createTestDatabase();
    const pool = new pg.Pool({ connectionString: bouncer.through(database.url), max: 1 });
    const client = await pool.connect();
    const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid');
    expect(rows[0]!.pid).not.toBe((client as pg.PoolClient & { processID: number }).processID);
    client.release();
    await pool.end();
    await using provider = await FakeProvider.start();
    await using app = await startApp({ database: database.url, providers: [oidcOf(provider)] });
    expect(await app.app.get(Database).isDirect()).toBe(false);
    await new UserAgent().navigate(`${app.url}/auth/fake/login?returnTo=/me`);
    const answers = await Promise.all(
      Array.from({ length: 50 }, () => new UserAgent().navigate(`${app.url}/auth/fake/login?returnTo=/me`)),
    );
    expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200));
    const [row] = await database.query<{ n: number }>('select count(*)::int as n from oauth_sessions');
    expect(row!.n).toBe(51);
  });

  it('E-009 the coherent cache works over the direct connection that listen.url names', async () => {
    await using database = await createTestDatabase();
    const source = await new DataSource({
      type: 'postgres',
      url: database.url,
      migrations: [...oauthMigrations, ...oauthCacheMigrations],
    }).initialize();
    await source.runMigrations();
    await source.destroy();
    await using provider = await FakeProvider.start();
    const options = {
      database: database.url,
      providers: [oidcOf(provider)],
      baseUrl: 'http://localhost:4111',
      oauth: { session: { cache: 'coherent' as const } },
    };
    await using one = await startApp(options);
    await using two = await startApp(options);
    const at = (address: string): UserAgent => new UserAgent({ origins: { 'http://localhost:4111': address } });
    const agent = at(one.address);
    await agent.navigate('http://localhost:4111/auth/fake/login?returnTo=/me');
    const other = at(two.address);
    const cookie = agent.cookie('oauth_session')!;
    other.jar.plant({ name: 'oauth_session', value: cookie, domain: 'localhost' });
    const ask = async (): Promise<number> => (await other.fetch('http://localhost:4111/me')).status;
    expect([await ask(), await ask()]).toEqual([200, 200]);
    const me = (await agent.fetch('http://localhost:4111/me')).json<{
      session: { id: string };
      user: { id: string };
    }>();
    await one.app.get(SessionService).end(me.user.id, me.session.id);
    let status = 200;
    for (let wait = 0; wait < 40 && status === 200; wait++) {
      await new Promise((resolve) => setTimeout(resolve, 25));
      status = await ask();
    }
    expect(status).toBe(401);
  });

  await import('./login.spec.js');
  await import('./state.spec.js');
  await import('./duplicates.spec.js');
  await import('./sessions.spec.js');
  await import('./linking.spec.js');
  await import('./logout.spec.js');
  await import('./backchannel.spec.js');
  await import('../integration/grants/refresh.spec.js');
}
