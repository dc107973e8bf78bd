// TypeORM's `replication` with a replica that lags for ever: whatever a login, a session or a grant depends on is read
// from the primary.
import { DataSource } from 'typeorm';
import { oauthCacheMigrations, oauthMigrations } from '../../migrations/index.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { MeController, oidcOf, startApp } from '../support/app.js';
import { startQueryLog } from '../support/query-log.js';
import { UserAgent } from '../support/user-agent.js';
import { FakeProvider } from '../../src/testing/index.js';

async function withCacheMigrations(): Promise<TestDatabase> {
  const database = await createTestDatabase();
  const migrations = [...oauthMigrations, ...oauthCacheMigrations];
  const source = await new DataSource({ type: 'postgres', url: database.url, migrations }).initialize();
  await source.runMigrations();
  await source.destroy();
  return database;
}

it.each(['off', 'coherent'] as const)(
  'E-008 a replica that lags is never asked: the request right after a login or logout sees it (cache: %s)',
  async (cache) => {
    await using primary = await withCacheMigrations();
    // Empty, and it stays so.
    await using replica = await withCacheMigrations();
    await using asked = await startQueryLog({ url: replica.url });
    await using provider = await FakeProvider.start();
    MeController.apiUrl = `${provider.apiUrl}/me`;
    await using app = await startApp({
      database: primary.url,
      providers: [oidcOf(provider)],
      typeorm: { replication: { master: { url: primary.url }, slaves: [{ url: asked.url }] } },
      oauth: { session: { cache }, onLogin: ({ subject, account }) => account?.userId ?? `user of ${subject}` },
    });
    // It really is what TypeORM reads from by default.
    const [where] = await app.app.get(DataSource).query<{ name: string }[]>('select current_database() as name');
    const runner = app.app.get(DataSource).createQueryRunner('slave');
    const [there] = (await runner.query('select current_database() as name')) as { name: string }[];
    await runner.release();
    expect([where!.name, there!.name]).toContain(replica.name);
    asked.clear();

    for (let round = 0; round < 20; round++) {
      const agent = new UserAgent();
      const page = await agent.navigate(`${app.url}/auth/fake/login?returnTo=/me`);
      expect([page.status, page.url]).toEqual([200, `${app.url}/me`]);
      const answers = [
        await agent.fetch(`${app.url}/me/api`),
        await agent.fetch(`${app.url}/auth/session`),
        await agent.fetch(`${app.url}/auth/sessions`),
      ];
      expect(answers.map(({ status }) => status)).toEqual([200, 200, 200]);
      const cookie = `oauth_session=${agent.cookie('oauth_session')}`;
      if (round % 2 === 0) {
        expect((await agent.fetch(`${app.url}/auth/logout`, { method: 'POST' })).status).toBe(200);
        expect((await new UserAgent().request({ url: `${app.url}/me`, headers: { cookie } })).status).toBe(401);
      }
    }
    expect(asked.work.filter(({ sql }) => sql.includes('oauth_'))).toEqual([]);
  },
);
