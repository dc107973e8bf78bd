import { ApolloDriver, type ApolloDriverConfig } from '@nestjs/apollo';
import { Controller, UseGuards } from '@nestjs/common';
import {
  AbstractGraphQLDriver,
  type GqlModuleOptions,
  GraphQLModule,
  Mutation,
  Query,
  Resolver,
} from '@nestjs/graphql';
import { ClientProxyFactory, MessagePattern, type MicroserviceOptions, Transport } from '@nestjs/microservices';
import type { FastifyInstance } from 'fastify';
import { graphql } from 'graphql';
import { firstValueFrom } from 'rxjs';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { freePort, MeController, oidcOf, platforms, type RunningApp, startApp } from '../support/app.js';
import { UserAgent } from '../support/user-agent.js';
import { CurrentUser, Public, RequireScopes, SessionGuard } from '../../src/index.js';
import { FakeProvider } from '../../src/testing/index.js';

let entered = 0;

@Resolver()
@UseGuards(SessionGuard)
class WhoResolver {
  @Query(() => String) who(@CurrentUser('subject') subject: string): string {
    entered++;
    return subject;
  }
  @Mutation(() => String) write(): string {
    entered++;
    return 'written';
  }
  @Query(() => String) @RequireScopes('admin') admin(): string {
    entered++;
    return 'admin';
  }
  @Public() @Query(() => String) open(): string {
    return 'open';
  }
}

@Controller()
@UseGuards(SessionGuard)
class RpcController {
  @MessagePattern('sum') sum(): number {
    entered++;
    return 1;
  }
}

/** GraphQL on Fastify, with the context that servers there give: its request and its reply. */
class FastifyDriver extends AbstractGraphQLDriver {
  async start(options: GqlModuleOptions): Promise<void> {
    const fastify = this.httpAdapterHost.httpAdapter.getInstance<FastifyInstance>();
    fastify.post('/graphql', async (request, reply) =>
      graphql({
        schema: options.schema!,
        source: (request.body as { query: string }).query,
        contextValue: { req: request, reply },
      }),
    );
  }
  async stop(): Promise<void> {}
}

const graphQl = {
  express: () => GraphQLModule.forRoot<ApolloDriverConfig>({ driver: ApolloDriver, autoSchemaFile: true }),
  fastify: () => GraphQLModule.forRoot<GqlModuleOptions>({ driver: FastifyDriver, autoSchemaFile: true }),
};

describe.each(platforms)('other contexts on %s', (platform) => {
  let database: TestDatabase;
  let provider: FakeProvider;
  let app: RunningApp;
  let agent: UserAgent;
  let rpcPort: number;

  beforeAll(async () => {
    [database, provider] = await Promise.all([createTestDatabase(), FakeProvider.start()]);
    rpcPort = await freePort();
    app = await startApp({
      platform,
      database: database.url,
      providers: [oidcOf(provider)],
      imports: [graphQl[platform]()],
      nestProviders: [WhoResolver],
      controllers: [MeController, RpcController],
      configure: async (nest) => {
        nest.connectMicroservice<MicroserviceOptions>({
          transport: Transport.TCP,
          options: { host: '127.0.0.1', port: rpcPort },
        });
        await nest.startAllMicroservices();
      },
    });
    agent = new UserAgent();
    await agent.navigate(`${app.url}/auth/fake/login?returnTo=/me`);
  });
  beforeEach(() => (entered = 0));
  afterAll(async () => {
    await app?.close();
    await provider?.close();
    await database?.drop();
  });

  const ask = async (query: string, headers: Record<string, string> = {}, who = agent) => {
    const answer = await who.fetch(`${app.url}/graphql`, {
      method: 'POST',
      body: JSON.stringify({ query }),
      headers: { 'content-type': 'application/json', ...headers },
    });
    return answer.json<{ data: Record<string, string> | null; errors?: { extensions: { code: string } }[] }>();
  };

  it('E-072 GraphQL: passes with a live session', async () => {
    expect((await ask('{ who }')).data).toEqual({ who: 'user-1' });
    expect((await ask('mutation { write }')).data).toEqual({ write: 'written' });
  });

  it('C-014 GraphQL: the answer is for no cache', async () => {
    const body = JSON.stringify({ query: '{ who }' });
    const headers = { 'content-type': 'application/json' };
    const answer = await agent.fetch(`${app.url}/graphql`, { method: 'POST', body, headers });
    expect([answer.headers.get('cache-control'), answer.headers.get('vary')]).toEqual([
      expect.stringContaining('no-store'),
      expect.stringMatching(/cookie/i),
    ]);
  });

  it('E-072 GraphQL: denies without one, from another site, and without the scope', async () => {
    const nobody = new UserAgent();
    expect((await ask('{ who }', {}, nobody)).errors?.[0]?.extensions.code).toBe('unauthenticated');
    expect((await ask('{ open }', {}, nobody)).data).toEqual({ open: 'open' });
    expect((await ask('mutation { write }', { 'sec-fetch-site': 'cross-site' })).errors?.[0]?.extensions.code).toBe(
      'cross_site',
    );
    expect((await ask('{ admin }')).errors?.[0]?.extensions.code).toBe('insufficient_scope');
    expect(entered).toBe(0);
  });

  it('E-072 microservices: nothing gets through, whatever the message claims', async () => {
    const client = ClientProxyFactory.create({
      transport: Transport.TCP,
      options: { host: '127.0.0.1', port: rpcPort },
    });
    const cookie = `oauth_session=${agent.cookie('oauth_session')}`;
    await expect(firstValueFrom(client.send('sum', { headers: { cookie } }))).rejects.toBeDefined();
    expect(entered).toBe(0);
    client.close();
  });
});
