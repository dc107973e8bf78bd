// The module as applications define it: every form of definition, prefixes, versions, global guards, filters and pipes.
import {
  type ArgumentMetadata,
  type ArgumentsHost,
  type CallHandler,
  Catch,
  Controller,
  type ExceptionFilter,
  type ExecutionContext,
  Get,
  Global,
  HttpException,
  type INestApplication,
  Injectable,
  Module,
  type NestInterceptor,
  RequestMethod,
  type Type,
  UseGuards,
  type PipeTransform,
  VersioningType,
} from '@nestjs/common';
import { APP_GUARD, BaseExceptionFilter, HttpAdapterHost, NestFactory, RouterModule } from '@nestjs/core';
import { ExpressAdapter } from '@nestjs/platform-express';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { TypeOrmModule } from '@nestjs/typeorm';
import type { Express } from 'express';
import { map, type Observable } from 'rxjs';
import {
  CurrentUser,
  OAuthConfigError,
  oauthEntities,
  OAuthError,
  OAuthModule,
  type OAuthModuleOptions,
  type OAuthOptionsFactory,
  type OAuthUser,
  Public,
  SessionGuard,
  TokenService,
} from '../../src/index.js';
import { freePort, MeController, oidcOf, platforms, TEST_KEY } from '../support/app.js';
import { captureOutput } from '../support/captured-output.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { codeOf } from '../support/login-fixture.js';
import { UserAgent } from '../support/user-agent.js';
import { FakeProvider } from '../../src/testing/index.js';

describe.each(platforms)('the module on %s', (platform) => {
  let database: TestDatabase;
  let provider: FakeProvider;
  let port: number;
  let url: string;
  const running: INestApplication[] = [];

  beforeAll(async () => {
    [database, provider] = await Promise.all([createTestDatabase(), FakeProvider.start()]);
  });
  beforeEach(async () => {
    port = await freePort();
    url = `http://localhost:${port}`;
  });
  afterEach(async () => {
    for (const app of running.splice(0)) await app.close();
  });
  afterAll(async () => {
    await provider?.close();
    await database?.drop();
  });

  const options = (): OAuthModuleOptions => ({
    baseUrl: url,
    encryption: { keys: [{ id: 'k', secret: TEST_KEY }] },
    providers: [oidcOf(provider)],
  });
  const typeorm = (changes: object = {}) =>
    TypeOrmModule.forRoot({
      type: 'postgres',
      url: database.url,
      autoLoadEntities: true,
      retryAttempts: 1,
      ...changes,
    });

  async function start(module: Type, configure?: (app: INestApplication) => void): Promise<INestApplication> {
    const adapter = platform === 'fastify' ? new FastifyAdapter() : new ExpressAdapter();
    const app = await NestFactory.create(module, adapter, { logger: false, abortOnError: false });
    running.push(app);
    configure?.(app);
    await app.listen(port, '127.0.0.1');
    return app;
  }

  /** Logs in through the guarded page, and says where that ended. */
  async function loggedIn(path: string): Promise<{ status: number; url: string; agent: UserAgent; body: string }> {
    const agent = new UserAgent();
    const { status, url: end, body } = await agent.navigate(url + path);
    return { status, url: end, agent, body };
  }

  it('forRootAsync takes a factory with imports and inject', async () => {
    @Module({ providers: [{ provide: 'OPTIONS', useFactory: options }], exports: ['OPTIONS'] })
    class ConfigModule {}
    @Module({ imports: [typeorm(), OAuthModule.forRootAsync({ imports: [ConfigModule], inject: ['OPTIONS'], useFactory: (given: OAuthModuleOptions) => Promise.resolve(given) })], controllers: [MeController] }) // prettier-ignore
    class AppModule {}
    await start(AppModule);
    expect(await loggedIn('/me')).toMatchObject({ status: 200, url: `${url}/me` });
  });

  it('forRootAsync takes a class, and an existing provider', async () => {
    const make = options;
    @Injectable()
    class Factory implements OAuthOptionsFactory {
      createOAuthOptions(): OAuthModuleOptions {
        return make();
      }
    }
    @Module({ providers: [Factory], exports: [Factory] })
    class FactoryModule {}
    for (const definition of [{ useClass: Factory }, { imports: [FactoryModule], useExisting: Factory }]) {
      @Module({ imports: [typeorm(), OAuthModule.forRootAsync(definition)], controllers: [MeController] })
      class AppModule {}
      const app = await start(AppModule);
      expect((await loggedIn('/me')).status).toBe(200);
      await app.close();
    }
  });

  it('everything wrong is told at boot, and extras inside the result of a factory are refused', async () => {
    @Module({ imports: [typeorm(), OAuthModule.forRootAsync({ useFactory: () => ({ ...options(), routePrefix: 'x', baseUrl: 'http://app.example' }) })] }) // prettier-ignore
    class AppModule {}
    const error: unknown = await start(AppModule).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(OAuthConfigError);
    expect((error as OAuthConfigError).problems).toEqual([
      expect.stringContaining('routePrefix'),
      expect.stringContaining('baseUrl'),
    ]);
    for (const routePrefix of ['', '/', 'a b', ':x', '../x', 'a//b'])
      expect(() => OAuthModule.forRoot({ ...options(), routePrefix })).toThrow(OAuthConfigError);
  });

  it('an explicit undefined beside the options means the default', async () => {
    @Module({ imports: [typeorm(), OAuthModule.forRoot({ ...options(), global: undefined, routePrefix: undefined, dataSource: undefined })], controllers: [MeController] }) // prettier-ignore
    class AppModule {}
    await start(AppModule);
    expect((await loggedIn('/me')).status).toBe(200);
  });

  it.each([
    ['/login/oauth', '', undefined],
    ['auth', 'api', undefined],
    ['auth', 'api', ['auth/{*path}']],
    ['auth', 'api', ['auth/*path']],
    ['auth', 'api', [{ path: 'auth/*path', method: RequestMethod.GET }]],
    ['auth', 'api', [{ path: 'auth/*path', method: RequestMethod.POST }]],
  ] as [string, string, (string | { path: string; method: RequestMethod })[] | undefined][])(
    'routePrefix %j below the global prefix %j, excluding %j',
    async (routePrefix, prefix, exclude) => {
      @Module({ imports: [typeorm(), OAuthModule.forRoot({ ...options(), routePrefix })], controllers: [MeController] })
      class AppModule {}
      await start(AppModule, (app) => void (prefix && app.setGlobalPrefix(prefix, exclude ? { exclude } : {})));
      const path = prefix ? `/${prefix}/me` : '/me';
      const { status, url: end, agent } = await loggedIn(path);
      expect([status, end]).toEqual([200, url + path]);
      const isExcluded = exclude?.some((route) => typeof route === 'string' || route.method === RequestMethod.GET);
      const own = `/${[isExcluded ? '' : prefix, routePrefix.replace(/^\//, '')].filter(Boolean).join('/')}`;
      expect(agent.history.some((hop) => hop.url.startsWith(`${url}${own}/fake/callback?`))).toBe(true);
      const landing = await new UserAgent().navigate(
        `${url}${own}/fake/login?returnTo=${encodeURIComponent(`${own}/logout`)}`,
      );
      expect(landing.url).toBe(`${url}/`);
    },
  );

  it.each(['auth/:provider/callback', 'auth/login'])(
    'a global prefix that excludes %s alone is told at boot',
    async (route) => {
      @Module({ imports: [typeorm(), OAuthModule.forRoot(options())] })
      class AppModule {}
      await expect(start(AppModule, (app) => void app.setGlobalPrefix('api', { exclude: [route] }))).rejects.toThrow(
        'exclude all or none',
      );
    },
  );

  it('a path by RouterModule is told at boot', async () => {
    @Module({ imports: [typeorm(), OAuthModule.forRoot(options()), RouterModule.register([{ path: 'v9', module: OAuthModule }])] }) // prettier-ignore
    class AppModule {}
    await expect(start(AppModule)).rejects.toThrow('say routePrefix instead');
  });

  it.each(platform === 'express' ? ['middleware', 'a mounted application'] : ['rewriteUrl'])(
    'comes back to the page where the path of baseUrl is cut off by %s',
    async (way) => {
      @Module({ imports: [typeorm(), OAuthModule.forRoot({ ...options(), baseUrl: `${url}/shop` })], controllers: [MeController] }) // prettier-ignore
      class AppModule {}
      const cut = (target = '/') => target.replace(/^\/shop(?=\/|$)/, '') || '/';
      const express = () => new ExpressAdapter().getInstance<Express>();
      const [parent, own] = [express(), express()];
      if (way === 'middleware') own.use((request, _, next) => ((request.url = cut(request.url)), next()));
      else parent.use('/shop', own);
      const adapter = platform === 'express' ? new ExpressAdapter(own) : new FastifyAdapter({ rewriteUrl: (request: { url?: string }) => cut(request.url) }); // prettier-ignore
      const app = await NestFactory.create(AppModule, adapter, { logger: false, abortOnError: false });
      running.push(app);
      await (way === 'a mounted application' ? app.init() : app.listen(port, '127.0.0.1'));
      const front = way === 'a mounted application' ? parent.listen(port, '127.0.0.1') : undefined;
      try {
        const { status, url: end } = await loggedIn('/shop/me?tab=1');
        expect([status, end]).toEqual([200, `${url}/shop/me?tab=1`]);
      } finally {
        front?.close();
      }
    },
  );

  it.each([VersioningType.URI, VersioningType.HEADER])('auth routes are neutral to versioning %s', async (type) => {
    @Module({ imports: [typeorm(), OAuthModule.forRoot(options())], controllers: [MeController] })
    class AppModule {}
    await start(AppModule, (app) => void app.enableVersioning(type === VersioningType.URI ? { type, defaultVersion: '1' } : { type: VersioningType.HEADER, header: 'x-version' })); // prettier-ignore
    const agent = new UserAgent();
    await agent.navigate(`${url}/auth/fake/login`);
    expect((await agent.fetch(`${url}/auth/session`)).status).toBe(200);
  });

  it('a SessionGuard for everything, an interceptor, and a pipe that forbids: our routes stay open and whole', async () => {
    @Injectable()
    class Wrapping implements NestInterceptor {
      intercept(_: ExecutionContext, next: CallHandler): Observable<unknown> {
        return next.handle().pipe(map((data: unknown) => ({ data })));
      }
    }
    class Strict implements PipeTransform {
      transform(value: unknown, { type, metatype }: ArgumentMetadata): unknown {
        if (type !== 'custom' && metatype !== String) throw new HttpException('only plain texts pass', 422);
        return value;
      }
    }
    @Controller('things')
    class ThingsController {
      @Get()
      mine(@CurrentUser() user: OAuthUser): object {
        return { id: user.id };
      }
      @Public()
      @Get('open')
      open(): object {
        return { open: true };
      }
    }
    @Module({ imports: [typeorm(), OAuthModule.forRoot(options())], controllers: [ThingsController], providers: [{ provide: APP_GUARD, useExisting: SessionGuard }] }) // prettier-ignore
    class AppModule {}
    await start(AppModule, (app) => void app.useGlobalPipes(new Strict()).useGlobalInterceptors(new Wrapping())); // prettier-ignore
    expect((await new UserAgent().fetch(`${url}/things`)).status).toBe(401);
    expect((await new UserAgent().fetch(`${url}/things/open`)).json()).toEqual({ data: { open: true } });
    const { status, body, agent } = await loggedIn('/things');
    expect([status, Object.keys(JSON.parse(body) as object)]).toEqual([200, ['data']]);
    expect((await agent.fetch(`${url}/auth/session`)).json()).toMatchObject({ user: { subject: 'user-1' } });
    expect((await agent.fetch(`${url}/auth/logout`, { method: 'POST' })).json()).toHaveProperty('logoutUrl');
  });

  it("an application's own catch-all filter still answers with the right status", async () => {
    @Catch()
    class CatchAll extends BaseExceptionFilter implements ExceptionFilter {
      override catch(error: unknown, host: ArgumentsHost): void {
        super.catch(error, host);
      }
    }
    @Controller('broken')
    class BrokenController {
      @Get()
      broken(): never {
        throw new OAuthError('reauth_required', { loginUrl: `${url}/auth/fake/login` });
      }
      @Get('other')
      other(): never {
        throw new HttpException('teapot', 418);
      }
    }
    @Module({ imports: [typeorm(), OAuthModule.forRoot(options())], controllers: [MeController, BrokenController] })
    class AppModule {}
    await start(AppModule, (app) => void app.useGlobalFilters(new CatchAll(app.get(HttpAdapterHost).httpAdapter)));
    expect((await new UserAgent().fetch(`${url}/me`)).status).toBe(401);
    expect((await new UserAgent().fetch(`${url}/broken`)).status).toBe(401);
    expect((await new UserAgent().fetch(`${url}/broken/other`)).status).toBe(418);
    // Our own routes keep our own filter.
    expect(codeOf(await new UserAgent().navigate(`${url}/auth/fake/callback?state=x&code=y`))).toBe('cookies_blocked');
  });

  it('an OAuthError thrown anywhere in the application is translated', async () => {
    @Controller('broken')
    class BrokenController {
      @Get()
      broken(): never {
        throw new OAuthError('reauth_required', { loginUrl: `${url}/auth/fake/login`, provider: 'fake' });
      }
    }
    @Module({ imports: [typeorm(), OAuthModule.forRoot(options())], controllers: [BrokenController] })
    class AppModule {}
    await start(AppModule);
    const answer = await new UserAgent().fetch(`${url}/broken`);
    expect([answer.status, answer.json()]).toEqual([
      401,
      expect.objectContaining({ code: 'reauth_required', reconnectUrl: `${url}/auth/fake/login` }),
    ]);
  });

  it('takes a DataSource by name, and entities without autoLoadEntities', async () => {
    @Module({ imports: [typeorm({ name: 'logins', autoLoadEntities: false, entities: oauthEntities }), OAuthModule.forRoot({ ...options(), dataSource: 'logins' })], controllers: [MeController] }) // prettier-ignore
    class AppModule {}
    await start(AppModule);
    expect((await loggedIn('/me')).status).toBe(200);
  });

  it('C-004 two modules, neither global, with prefixes of their own: each sends its people to its own login', async () => {
    const own = OAuthModule.forRoot({ ...options(), global: false, routePrefix: 'one' });
    const other = OAuthModule.forRoot({
      ...options(),
      global: false,
      routePrefix: 'two',
      providers: [oidcOf(provider, { name: 'second' })],
    });
    @Controller('first')
    @UseGuards(SessionGuard)
    class FirstController {
      @Get()
      get(): string {
        return 'first';
      }
    }
    @Controller('second')
    @UseGuards(SessionGuard)
    class SecondController {
      @Get()
      get(): string {
        return 'second';
      }
    }
    @Module({ imports: [own], controllers: [FirstController] })
    class FirstModule {}
    @Module({ imports: [other], controllers: [SecondController] })
    class SecondModule {}
    @Module({ imports: [typeorm(), FirstModule, SecondModule] })
    class AppModule {}
    await start(AppModule);
    for (const [path, prefix, name] of [
      ['/first', 'one', 'fake'],
      ['/second', 'two', 'second'],
    ] as const) {
      const { status, body, agent } = await loggedIn(path);
      expect([status, body]).toEqual([200, path.slice(1)]);
      expect(agent.history.map((hop) => hop.url).filter((visited) => visited.includes('/callback'))).toEqual([
        expect.stringContaining(`/${prefix}/${name}/callback?`),
      ]);
    }
    expect((await new UserAgent().navigate(`${url}/one/second/login`)).status).toBe(404);
  });

  it('is global by default: a guard in a module that imports nothing', async () => {
    @Module({ controllers: [MeController] })
    class FeatureModule {}
    @Global()
    @Module({})
    class Unrelated {}
    @Module({ imports: [typeorm(), OAuthModule.forRoot(options()), FeatureModule, Unrelated] })
    class AppModule {}
    const app = await start(AppModule);
    expect(app.get(TokenService, { strict: false })).toBeInstanceOf(TokenService);
    expect((await loggedIn('/me')).status).toBe(200);
  });

  it('a database without the migrations: 500 with a plain page, and the log says what to do', async () => {
    await using empty = await createTestDatabase({ from: 'empty' });
    @Module({ imports: [typeorm({ url: empty.url }), OAuthModule.forRoot({ ...options(), cleanup: false })], controllers: [MeController] }) // prettier-ignore
    class AppModule {}
    using output = captureOutput();
    const app = await start(AppModule);
    app.useLogger(output.logger);
    const answer = await new UserAgent().navigate(`${url}/auth/fake/login`);
    expect([answer.status, codeOf(answer)]).toEqual([500, 'server_error']);
    expect(answer.body).not.toContain('oauth_states');
    expect(output.text).toContain('migrations of nest-oauth-client have not been run');
    await app.close();
    running.length = 0;
  });
});
