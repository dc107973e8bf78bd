// An application with one provider and a database, and the steps of a login taken one at a time.
import { FakeProvider, type FakeProviderOptions } from '../../src/testing/index.js';
import { type AppOptions, MeController, oidcOf, type RunningApp, startApp } from './app.js';
import { createTestDatabase, type TestDatabase } from './database.js';
import { type AgentResponse, UserAgent } from './user-agent.js';

/** See {@link startLogin}. */
export interface LoginFixture extends AsyncDisposable {
  readonly app: RunningApp;
  readonly database: TestDatabase;
  readonly provider: FakeProvider;
  /** A new browser, which reaches the application under its public URL. */
  agent(): UserAgent;
  /** Opens `/login` and gives the URL of the authorization request. */
  begin(agent: UserAgent, query?: string, provider?: string): Promise<URL>;
  /** Lets the provider answer an authorization request, as if seen from elsewhere, and gives the callback's URL. */
  consent(authorize: URL | string): Promise<URL>;
  /** Both: the URL of a callback that was not visited yet. */
  untilCallback(agent: UserAgent, query?: string): Promise<URL>;
  /** Visits a callback and stops there. */
  callback(agent: UserAgent, url: URL | string): Promise<AgentResponse>;
  /** Logs in and stops at the landing page. */
  login(agent: UserAgent, query?: string): Promise<AgentResponse>;
  /** Status of a guarded route asked by a script. */
  status(agent: UserAgent): Promise<number>;
  /** Number of rows of a table. */
  count(table: string): Promise<number>;
  close(): Promise<void>;
}

/** Starts application, provider and database. */
export async function startLogin(
  options: Omit<AppOptions, 'database' | 'providers'> & {
    provider?: FakeProviderOptions;
    /** @defaultValue the fake provider with its default client */
    providers?: (provider: FakeProvider) => AppOptions['providers'];
    /** Puts something between application and database. */
    through?: (url: string) => string;
  } = {},
): Promise<LoginFixture> {
  const { provider: behaviour, providers, through, ...rest } = options;
  const [database, provider] = await Promise.all([createTestDatabase(), FakeProvider.start(behaviour)]);
  MeController.apiUrl = `${provider.apiUrl}/me`;
  const app = await startApp({
    ...rest,
    database: through ? through(database.url) : database.url,
    providers: providers ? providers(provider) : [oidcOf(provider)],
  });
  const at = (path: string) => `${app.url}${path}`;
  const close = async (): Promise<void> => {
    await app.close();
    await provider.close();
    await database.drop();
  };
  const begin: LoginFixture['begin'] = async (agent, query = '', name = 'fake') => {
    const answer = await agent.navigate(at(`/auth/${name}/login${query}`), { followRedirects: false });
    const location = answer.headers.get('location');
    if (answer.status !== 302 || location === null) throw new Error(`login: ${answer.status} ${answer.body}`);
    return new URL(location);
  };
  const consent: LoginFixture['consent'] = async (authorize) => {
    const answer = await new UserAgent().navigate(String(authorize), { followRedirects: false });
    const location = answer.headers.get('location');
    if (location === null) throw new Error(`authorize: ${answer.status} ${answer.body}`);
    return new URL(location);
  };
  const untilCallback: LoginFixture['untilCallback'] = async (agent, query) => consent(await begin(agent, query));
  // Coming from the provider, as a browser would.
  const callback: LoginFixture['callback'] = (agent, url) =>
    agent.navigate(String(url), { followRedirects: false, from: `${provider.url}/authorize` });
  return {
    app,
    database,
    provider,
    agent: () => new UserAgent(app.url === app.address ? {} : { origins: { [new URL(app.url).origin]: app.address } }),
    begin,
    consent,
    untilCallback,
    callback,
    login: async (agent, query) => callback(agent, await untilCallback(agent, query)),
    status: async (agent) => (await agent.fetch(at('/me'))).status,
    count: async (table) => (await database.query<{ n: number }>(`select count(*)::int as n from ${table}`))[0]!.n,
    close,
    [Symbol.asyncDispose]: close,
  };
}

/** The stable code of an error answer: of problem+json, or of a page's small print. */
export function codeOf(answer: AgentResponse): string | undefined {
  if (answer.headers.get('content-type')?.includes('json')) return answer.json<{ code?: string }>().code;
  return /<small>([a-z_]+) · [0-9a-f-]{36}<\/small>/.exec(answer.body)?.[1];
}

/** A URL with some parameters changed; null removes one. */
export function withParams(url: URL | string, changes: Record<string, string | null>): URL {
  const changed = new URL(url);
  for (const [name, value] of Object.entries(changes)) {
    if (value === null) changed.searchParams.delete(name);
    else changed.searchParams.set(name, value);
  }
  return changed;
}
