import { Controller, Get, type LoggerService, Module, UseGuards } from '@nestjs/common';
import { APP_GUARD } from '@nestjs/core';
import { HealthCheckService, TerminusModule } from '@nestjs/terminus';
import pg from 'pg';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { MeController, oidcOf, platforms, type RunningApp, startApp } from '../support/app.js';
import { startTcpProxy } from '../support/tcp-proxy.js';
import { UserAgent } from '../support/user-agent.js';
import { OAuthHealthIndicator, Public, RequireScopes, RouteAudit, SessionGuard } from '../../src/index.js';
import { Cleanup } from '../../src/ops/cleanup.service.js';
import { FakeProvider } from '../../src/testing/index.js';

@Controller('forgotten')
class ForgottenController {
  @Get() read(): string {
    return 'open to everybody';
  }
}

@Controller('known')
@UseGuards(SessionGuard)
class KnownController {
  @Get() @RequireScopes('openid') read(): string {
    return '';
  }
  @Public() @Get('open') open(): string {
    return '';
  }
}

@Controller('undecided')
@UseGuards(SessionGuard)
class UndecidedController {
  @Public() @RequireScopes('admin') @Get() read(): string {
    return '';
  }
}

@Controller('exception')
@UseGuards(SessionGuard)
@RequireScopes('admin')
class ExceptionController {
  @Public() @Get() read(): string {
    return '';
  }
}

@Module({ providers: [{ provide: APP_GUARD, useClass: SessionGuard }] })
class GuardedEverywhere {}

describe('cleanup, health and audit', () => {
  let database: TestDatabase;
  let provider: FakeProvider;
  let apps: RunningApp[] = [];

  beforeAll(async () => {
    [database, provider] = await Promise.all([createTestDatabase(), FakeProvider.start()]);
  });
  afterEach(async () => {
    for (const app of apps) await app.close();
    apps = [];
  });
  afterAll(async () => {
    await provider?.close();
    await database?.drop();
  });

  async function start(options: Partial<Parameters<typeof startApp>[0]> = {}): Promise<RunningApp> {
    const app = await startApp({ database: database.url, providers: [oidcOf(provider)], ...options });
    apps.push(app);
    return app;
  }
  const count = async (table: string) => Number((await database.query(`select count(*) from ${table}`))[0]!.count);

  it('E-011 removes what has expired and nothing else, also with several instances at once and rows that are held', async () => {
    const oauth = { cleanup: false as const, session: { touchInterval: 1 } };
    const [one, two, three] = [await start({ oauth }), await start({ oauth }), await start({ oauth })];
    const agent = new UserAgent();
    await agent.navigate(`${one.url}/auth/fake/login?returnTo=/me`);
    await database.query(`
      insert into oauth_sessions (id, token_hash, user_id, account_id, provider, idle_expires_at, expires_at)
      select gen_random_uuid(), sha256(i::text::bytea), user_id, id, provider,
             now() - case when i % 2 = 0 then interval '1 hour' else interval '-1 hour' end, now() - case when i % 2 = 1 then interval '1 hour' else interval '-1 day' end
      from oauth_accounts, generate_series(1, 5000) i;
      insert into oauth_logout_tokens (token_hash, issuer, sid, received_at)
      select sha256(i::text::bytea), 'x', i::text, now() - make_interval(hours => i) from generate_series(1, 10) i;
      insert into oauth_grants (id, account_id, session_id, provider, scope)
      select gen_random_uuid(), id, gen_random_uuid(), provider, '{}' from oauth_accounts;
      insert into oauth_states (state_hash, browser_hash, provider, return_to, expires_at)
      select sha256(i::text::bytea), sha256('b'), 'fake', 'x', now() - interval '5 minutes' from generate_series(1, 2500) i;
      select 1`);
    const cleanups = [one, two, three].map((app) => app.app.get(Cleanup, { strict: false }));
    const holder = new pg.Client({ connectionString: database.url });
    await holder.connect();
    try {
      await holder.query('begin');
      for (const table of ['oauth_sessions where idle_expires_at < now()', 'oauth_states where expires_at < now()'])
        await holder.query(`select 1 from ${table} limit 3 for update`);
      // A row that somebody holds is passed by, not waited for.
      await Promise.all(cleanups.map((cleanup) => cleanup.run()));
      expect(await count('oauth_sessions')).toBe(1 + 3);
      expect(await count('oauth_states where expires_at < now()')).toBe(3);
    } finally {
      await holder.end();
    }
    await cleanups[0]!.run();
    expect(await count('oauth_sessions')).toBe(1);
    expect(await count('oauth_logout_tokens')).toBe(1);
    expect(await count('oauth_grants where session_id is not null')).toBe(0);
    expect(await count('oauth_states where expires_at < now()')).toBe(0);
    expect((await agent.fetch(`${one.url}/me`)).status).toBe(200);
    expect(provider.revocations).toHaveLength(0);
  });

  it('runs by itself', async () => {
    await start({ oauth: { cleanup: { interval: 0.1 } } });
    await database.query(`
      insert into oauth_states (state_hash, browser_hash, provider, return_to, expires_at)
      values (sha256('late'), sha256('b'), 'fake', 'x', now() - interval '5 minutes')`);
    for (let wait = 0; wait < 200 && (await count('oauth_states where expires_at < now()')) > 0; wait++)
      await new Promise((resolve) => setTimeout(resolve, 50));
    expect(await count('oauth_states where expires_at < now()')).toBe(0);
  });

  it('tells @nestjs/terminus how it is, also when the database is away', async () => {
    const proxy = await startTcpProxy({ target: database.url });
    const app = await start({
      database: proxy.urlFor(database.url),
      imports: [TerminusModule],
      oauth: { databaseTimeout: 500 },
    });
    const health = app.app.get(HealthCheckService, { strict: false });
    const oauth = app.app.get(OAuthHealthIndicator);
    const up = { status: 'up', database: 'up', keys: 'up', cache: 'off' };
    expect(await health.check([() => oauth.isHealthy('oauth')])).toMatchObject({ status: 'ok', info: { oauth: up } });
    await proxy.refuse();
    proxy.cut();
    expect(await oauth.isHealthy()).toEqual({ oauth: { ...up, status: 'down', database: 'down' } });
    await expect(health.check([() => oauth.isHealthy('oauth')])).rejects.toMatchObject({ status: 503 });
    await proxy.allow();
    await proxy.resume();
    await app.close();
    await proxy.close();
  });

  it.each(platforms)(
    'refuses to start in strict mode while a handler is neither guarded nor public, and names it (%s)',
    async (platform) => {
      const controllers = [MeController, KnownController, ForgottenController];
      await expect(start({ platform, controllers, oauth: { routes: 'strict' } })).rejects.toThrow(
        /ForgottenController\.read is neither guarded by SessionGuard nor marked @Public\(\)/,
      );
      const app = await start({ platform, controllers: [MeController, KnownController], oauth: { routes: 'strict' } });
      const routes = app.app.get(RouteAudit).list();
      expect(routes.filter(({ handler }) => handler.startsWith('Known'))).toEqual([
        { handler: 'KnownController.open', policy: 'public', demands: [] },
        { handler: 'KnownController.read', policy: 'session', demands: ['scopes=openid'] },
      ]);
      expect(routes.filter(({ policy }) => policy === 'open')).toEqual([]);
    },
  );

  it.each(platforms)(
    'refuses to start in strict mode with a handler that is public and has demands of its own (%s)',
    async (platform) => {
      const oauth = { routes: 'strict' } as const;
      await expect(start({ platform, oauth, controllers: [UndecidedController] })).rejects.toThrow(
        /UndecidedController\.read is marked @Public\(\) and has demands, which nobody asks for; remove one of them/,
      );
      const app = await start({ platform, oauth, controllers: [ExceptionController] });
      expect(app.app.get(RouteAudit).list()).toContainEqual({
        handler: 'ExceptionController.read',
        policy: 'public',
        demands: ['scopes=admin'],
      });
    },
  );

  it.each(platforms)(
    'counts a global guard, which also guards what was forgotten; @Public() opens (%s)',
    async (platform) => {
      const app = await start({
        platform,
        controllers: [KnownController, ForgottenController],
        imports: [GuardedEverywhere],
        oauth: { routes: 'strict' },
      });
      const nobody = new UserAgent();
      expect((await nobody.fetch(`${app.url}/forgotten`)).status).toBe(401);
      expect((await nobody.fetch(`${app.url}/known/open`)).status).toBe(200);
      for (const target of ['/forgotten?x=/known/open', '/forgotten?/known/open', '/forgotten%23/known/open'])
        expect([401, 404]).toContain((await nobody.fetch(app.url + target)).status);
      expect((await nobody.navigate(`${app.url}/auth/login`, { followRedirects: false })).status).toBe(302);
    },
  );

  it.each(platforms)('lists all handlers in report mode (%s)', async (platform) => {
    const lines: string[] = [];
    const keep = (line: unknown): number => lines.push(String(line));
    const logger = { log: keep, warn: keep, error: keep, debug: keep, verbose: keep } as unknown as LoggerService;
    await start({ platform, controllers: [ForgottenController], logger, oauth: { routes: 'report' } });
    expect(lines.find((line) => line.includes('handlers:'))).toMatch(/open +ForgottenController\.read/);
  });
});
