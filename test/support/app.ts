// An application as a user would write it, on Express or Fastify, listening on a real port.
import 'reflect-metadata';
import { createServer } from 'node:net';
import { Controller, Get, Module, type ModuleMetadata, Post, type Type, UseGuards } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { ExpressAdapter } from '@nestjs/platform-express';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import type { INestApplication, LoggerService } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import {
  CurrentSession,
  CurrentUser,
  OAuthModule,
  type OAuthModuleOptions,
  type OAuthSession,
  type OAuthUser,
  oidc,
  Public,
  SessionGuard,
  TokenService,
} from '../../src/index.js';
import type { FakeProvider } from '../../src/testing/index.js';

/** The HTTP platforms that everything is tested on. */
export type Platform = 'express' | 'fastify';
export const platforms: readonly Platform[] = ['express', 'fastify'];

/** A key for tests: 32 bytes, base64url. */
export const TEST_KEY = 'dGVzdC1rZXktdGVzdC1rZXktdGVzdC1rZXktMTIzNDU';

/** Has the access token renewed where that is due. */
@Controller('token')
@UseGuards(SessionGuard)
export class TokenController {
  constructor(private readonly tokens: TokenService) {}

  /** What is known of the access token, without it. */
  @Get()
  async token(@CurrentSession() session: OAuthSession): Promise<object> {
    const { type, expiresAt, scope } = await this.tokens.getAccessToken(session);
    return { type, expiresAt, scope };
  }
}

/** A controller as an application has it. */
@Controller('me')
@UseGuards(SessionGuard)
export class MeController {
  constructor(private readonly tokens: TokenService) {}

  @Get()
  me(@CurrentUser() user: OAuthUser, @CurrentSession() session: OAuthSession): object {
    return { user, session };
  }

  @Post()
  write(@CurrentUser('id') id: string): object {
    return { wrote: id };
  }

  @Get('api')
  async api(@CurrentSession() session: OAuthSession): Promise<unknown> {
    const answer = await this.tokens.fetch(session, MeController.apiUrl);
    return { status: answer.status, body: await answer.json() };
  }

  @Public()
  @Get('public')
  open(): object {
    return { open: true };
  }

  /** Where the provider's API is. */
  static apiUrl = '';
}

/** While set, every application reaches its database through a pooler, and listens directly. */
export const poolerOfApps: { through?: (url: string) => string } = {};

/** What {@link startApp} needs. */
export interface AppOptions {
  platform?: Platform;
  /** Connection URL of the database. */
  database: string;
  /** Options of the module, without those that are given by default. */
  oauth?: Partial<OAuthModuleOptions>;
  /** Options fixed at definition. */
  extras?: { routePrefix?: string; global?: boolean };
  providers?: OAuthModuleOptions['providers'];
  controllers?: Type[];
  imports?: ModuleMetadata['imports'];
  nestProviders?: ModuleMetadata['providers'];
  /** Options of TypeORM besides. */
  typeorm?: object;
  logger?: LoggerService | false;
  /** Called before the application listens. */
  configure?: (app: INestApplication) => void | Promise<void>;
  /** Public origin when it is not where the application listens. */
  baseUrl?: string;
  /** An Express adapter of one's own, e.g. with another query parser. */
  adapter?: ExpressAdapter | FastifyAdapter;
  port?: number;
  /** Further options of `NestFactory.create`, e.g. `{ bodyParser: false }`. */
  nest?: { bodyParser?: boolean };
}

/** A running application. */
export interface RunningApp extends AsyncDisposable {
  readonly app: INestApplication;
  /** Public URL, without trailing slash. */
  readonly url: string;
  /** Where it really listens. */
  readonly address: string;
  readonly tokens: TokenService;
  close(): Promise<void>;
}

/** Starts an application with the module in it. */
export async function startApp(options: AppOptions): Promise<RunningApp> {
  const port = options.port ?? (await freePort());
  const address = `http://localhost:${port}`;
  const baseUrl = options.baseUrl ?? address;

  @Module({
    imports: [
      TypeOrmModule.forRoot({
        type: 'postgres',
        url: poolerOfApps.through?.(options.database) ?? options.database,
        autoLoadEntities: true,
        retryAttempts: 1,
        ...options.typeorm,
      }),
      OAuthModule.forRoot({
        baseUrl,
        encryption: { keys: [{ id: 'test', secret: TEST_KEY }] },
        providers: options.providers ?? [],
        ...(poolerOfApps.through ? { listen: { url: options.database } } : {}),
        ...options.extras,
        ...options.oauth,
      }),
      ...(options.imports ?? []),
    ],
    controllers: options.controllers ?? [MeController],
    providers: options.nestProviders ?? [],
  })
  class AppModule {}

  const adapter = options.adapter ?? (options.platform === 'fastify' ? new FastifyAdapter() : new ExpressAdapter());
  const app = await NestFactory.create(AppModule, adapter, {
    logger: options.logger ?? false,
    abortOnError: false,
    ...options.nest,
  });
  await options.configure?.(app);
  app.enableShutdownHooks([]);
  await app.listen(port, '127.0.0.1');
  let closing: Promise<void> | undefined;
  const close = () => (closing ??= app.close());
  return { app, url: baseUrl, address, tokens: app.get(TokenService), close, [Symbol.asyncDispose]: close };
}

/** The provider definition of a fake provider with its default client. */
export function oidcOf(
  provider: FakeProvider,
  options: Partial<Parameters<typeof oidc>[0]> = {},
): ReturnType<typeof oidc> {
  return oidc({
    name: 'fake',
    issuer: provider.issuer,
    clientId: 'client',
    clientSecret: 'secret',
    apiOrigins: [provider.url, new URL(provider.apiUrl).origin],
    ...options,
  });
}

/** A port that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}
