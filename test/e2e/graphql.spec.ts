import { ApolloDriver, type ApolloDriverConfig } from '@nestjs/apollo';
import { Controller, UseGuards } from '@nestjs/common';
import { ModulesContainer } from '@nestjs/core';
import {
  AbstractGraphQLDriver,
  Field,
  type GqlModuleOptions,
  GqlSubscriptionService,
  GraphQLModule,
  Mutation,
  ObjectType,
  Parent,
  Query,
  ResolveReference,
  Resolver,
} from '@nestjs/graphql';
import { ClientProxyFactory, MessagePattern, type MicroserviceOptions, Transport } from '@nestjs/microservices';
import type { FastifyInstance } from 'fastify';
import { graphql } from 'graphql';
import { createClient, type FormattedExecutionResult } from 'graphql-ws';
import { firstValueFrom } from 'rxjs';
import WebSocket from 'ws';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { freePort, MeController, oidcOf, platforms, type RunningApp, startApp } from '../support/app.js';
import { UserAgent } from '../support/user-agent.js';
import {
  CurrentSession,
  CurrentUser,
  type OAuthSession,
  Public,
  RequireScopes,
  RouteAudit,
  SessionGuard,
} from '../../src/index.js';
import { FakeProvider } from '../../src/testing/index.js';

const ADMIN = 'https://admin.example.com';
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
  @Public() @Query(() => [String]) known(
    @CurrentUser('subject') subject?: string,
    @CurrentSession() session?: OAuthSession,
  ): string[] {
    return [String(subject), typeof session];
  }
}

/** Nobody guards it, and no class says where it comes from. */
@Resolver()
class MadeResolver {
  @Query(() => String) made(): string {
    return 'made';
  }
}

@Resolver()
class GivenResolver {
  @Query(() => String) given(): string {
    return 'given';
  }
}

@ObjectType('Thing')
class Thing {
  @Field(() => String) id!: string;
}

/** A federation enters it by references. */
@Resolver(() => Thing)
@UseGuards(SessionGuard)
class ThingResolver {
  @Query(() => Thing) thing(): Thing {
    return { id: 'mine' };
  }
  @ResolveReference() refer(@Parent() reference: Thing, @CurrentUser('subject') subject?: string): Thing {
    return { id: `${reference.id} of ${subject}` };
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

/** GraphQL on Fastify, with the contexts that servers there give: request and reply, or what graphql-ws knows. */
class FastifyDriver extends AbstractGraphQLDriver {
  #sockets: GqlSubscriptionService | undefined;
  async start(options: GqlModuleOptions): Promise<void> {
    const fastify = this.httpAdapterHost.httpAdapter.getInstance<FastifyInstance>();
    fastify.post('/graphql', async (request, reply) =>
      graphql({
        schema: options.schema!,
        source: (request.body as { query: string }).query,
        contextValue: { req: request, reply },
      }),
    );
    this.#sockets = new GqlSubscriptionService(
      {
        ...{ schema: options.schema!, path: '/graphql', 'graphql-ws': true },
        context: ({ extra }: { extra: unknown }) => ({ extra }),
      },
      this.httpAdapterHost.httpAdapter.getHttpServer(),
    );
  }
  async stop(): Promise<void> {
    await this.#sockets?.stop();
  }
}

const graphQl = {
  // No `context`: what Nest gives by default must do.
  express: () =>
    GraphQLModule.forRoot<ApolloDriverConfig>({
      driver: ApolloDriver,
      autoSchemaFile: true,
      subscriptions: { 'graphql-ws': true },
    }),
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
      nestProviders: [
        WhoResolver,
        { provide: 'made', useFactory: () => new MadeResolver() },
        { provide: 'given', useValue: new GivenResolver() },
      ],
      controllers: [MeController, RpcController],
      oauth: { csrf: { exemptOrigins: [ADMIN] } },
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

  it('E-072 GraphQL: the audit sees resolvers that a factory made or that were given as values', async () => {
    expect((await ask('{ made given }', {}, new UserAgent())).data).toEqual({ made: 'made', given: 'given' });
    const open = app.app
      .get(RouteAudit)
      .list()
      .filter(({ policy }) => policy === 'open');
    expect(open.map(({ handler }) => handler)).toEqual(['GivenResolver.given', 'MadeResolver.made']);
  });

  /** Operations over one WebSocket, one after the other. @returns the last answer */
  async function overSocket(queries: string | readonly string[], headers: Record<string, string>) {
    const client = createClient({
      url: `${app.address.replace('http', 'ws')}/graphql`,
      webSocketImpl: class extends WebSocket {
        constructor(address: string, protocols: string[]) {
          super(address, protocols, { headers });
        }
      },
      lazy: false,
      retryAttempts: 0,
    });
    try {
      let answer: unknown;
      for (const query of [queries].flat()) {
        const { value } = await client.iterate<Record<string, unknown>>({ query }).next();
        const { data, errors } = value as FormattedExecutionResult<Record<string, unknown>, { code?: string }>;
        answer = errors?.[0]?.extensions?.code ?? data;
      }
      return answer;
    } finally {
      await client.dispose();
    }
  }

  it('A-116 E-072 GraphQL over WebSocket: passes with a live session, and never from another origin', async () => {
    const cookie = `oauth_session=${agent.cookie('oauth_session')}`;
    const write = 'mutation { write }';
    expect(await overSocket('{ who }', { cookie, origin: app.url })).toEqual({ who: 'user-1' });
    expect(await overSocket(write, { cookie })).toEqual({ write: 'written' });
    expect(await overSocket(write, { cookie, origin: ADMIN })).toEqual({ write: 'written' });
    entered = 0;
    for (const foreign of [
      { origin: 'https://evil.example' },
      { origin: 'https://evil.example', 'sec-fetch-site': 'same-site' },
      { 'sec-fetch-site': 'cross-site' },
    ] as Record<string, string>[]) {
      expect(await overSocket(write, { cookie, ...foreign })).toBe('cross_site');
      expect(await overSocket('{ who }', { cookie, ...foreign })).toBe('cross_site');
    }
    expect(await overSocket(write, {})).toBe('unauthenticated');
    expect(entered).toBe(0);
  });

  it('GraphQL: what is open to everybody knows nobody, also after a guarded operation', async () => {
    const known = { known: ['undefined', 'undefined'] };
    expect((await ask('mutation { write }')).data).toEqual({ write: 'written' });
    expect((await ask('{ who known }')).data).toEqual({ who: 'user-1', ...known });
    const leaving = new UserAgent();
    await leaving.navigate(`${app.url}/auth/fake/login?returnTo=/me`);
    const cookie = `oauth_session=${leaving.cookie('oauth_session')}`;
    expect(await overSocket(['{ who }', '{ known }'], { cookie })).toEqual(known);
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

describe.each([[undefined], [['guards' as const]]])('a federation, with %p on fields', (enhancers) => {
  let database: TestDatabase;
  let provider: FakeProvider;
  let app: RunningApp;

  beforeAll(async () => {
    [database, provider] = await Promise.all([createTestDatabase(), FakeProvider.start()]);
    app = await startApp({
      database: database.url,
      providers: [oidcOf(provider)],
      imports: [
        GraphQLModule.forRoot<ApolloDriverConfig>({
          driver: ApolloDriver,
          autoSchemaFile: true,
          ...(enhancers ? { fieldResolverEnhancers: enhancers } : {}),
        }),
      ],
      nestProviders: [ThingResolver],
      controllers: [MeController],
    });
  });
  afterAll(async () => {
    await app?.close();
    await provider?.close();
    await database?.drop();
  });

  /** Calls what Nest gives to a federation's schema, as `@apollo/subgraph` does for `_entities`. */
  const refer = async (cookie: string): Promise<Thing> => {
    const explorer = [...app.app.get(ModulesContainer).values()]
      .flatMap(({ providers }) => [...providers.values()])
      .find(({ name }) => name === 'ResolversExplorerService')!.instance as {
      explore(): { Thing: { __resolveReference(reference: Thing, context: object, info: object): Promise<Thing> } };
    };
    const request = { headers: { cookie }, method: 'POST' };
    return explorer.explore().Thing.__resolveReference({ id: 'yours' }, { req: request }, {});
  };

  it('E-072 GraphQL: references are guarded where the audit says so, and only there', async () => {
    const found = app.app
      .get(RouteAudit)
      .list()
      .find(({ handler }) => handler === 'ThingResolver.refer');
    expect(found?.policy).toBe(enhancers ? 'session' : 'open');
    if (!enhancers) return expect(await refer('')).toEqual({ id: 'yours of undefined' });
    await expect(refer('')).rejects.toMatchObject({ code: 'unauthenticated' });
    const agent = new UserAgent();
    await agent.navigate(`${app.url}/auth/fake/login?returnTo=/me`);
    expect(await refer(`oauth_session=${agent.cookie('oauth_session')}`)).toEqual({ id: 'yours of user-1' });
  });
});
