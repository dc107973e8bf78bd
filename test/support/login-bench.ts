// One application with one fake provider, and a login in a fresh browser: the bench that protocol tests work on.
import type { oidc } from '../../src/index.js';
import { FakeProvider, type FakeProviderOptions } from '../../src/testing/index.js';
import { type AppOptions, MeController, oidcOf, type RunningApp, startApp } from './app.js';
import { createTestDatabase, type TestDatabase } from './database.js';
import type { AgentResponse } from './user-agent.js';
import { UserAgent } from './user-agent.js';

/** How a login ended. */
export interface LoginResult {
  readonly agent: UserAgent;
  readonly status: number;
  /** `code` of the error, on its page or in its problem document; null after a success. */
  readonly code: string | null;
  /** Subject of the session; null without one. */
  readonly subject: string | null;
  readonly response: AgentResponse;
}

/** An application, its database and its provider. */
export class LoginBench implements AsyncDisposable {
  private constructor(
    readonly database: TestDatabase,
    readonly provider: FakeProvider,
    readonly app: RunningApp,
  ) {}

  /** Starts all three. */
  static async start(
    options: {
      provider?: FakeProviderOptions;
      client?: Partial<Parameters<typeof oidc>[0]>;
      /** Definitions instead of the one for the fake provider. */
      providers?: (provider: FakeProvider) => AppOptions['providers'];
      app?: Omit<Partial<AppOptions>, 'providers'>;
    } = {},
  ): Promise<LoginBench> {
    const [database, provider] = await Promise.all([createTestDatabase(), FakeProvider.start(options.provider)]);
    MeController.apiUrl = `${provider.apiUrl}/me`;
    const providers = options.providers?.(provider) ?? [oidcOf(provider, { timeout: 2_000, ...options.client })];
    try {
      const app = await startApp({ database: database.url, ...options.app, providers });
      return new LoginBench(database, provider, app);
    } catch (refusal) {
      // An application that refuses its options leaves nothing behind.
      await provider.close();
      await database.drop();
      throw refusal;
    }
  }

  /** A whole login; in a browser of its own unless one is given. */
  async login({
    agent = new UserAgent(),
    name = 'fake',
  }: { agent?: UserAgent; name?: string } = {}): Promise<LoginResult> {
    const response = await agent.navigate(`${this.app.url}/auth/${name}/login?returnTo=/me`);
    return this.resultOf(agent, response);
  }

  /** Goes to the provider and comes back, but keeps the callback for the test to use. */
  async callbackOf(agent: UserAgent, name = 'fake'): Promise<URL> {
    const start = await agent.navigate(`${this.app.url}/auth/${name}/login?returnTo=/me`, { followRedirects: false });
    const back = await agent.navigate(start.headers.get('location')!, { followRedirects: false });
    return new URL(back.headers.get('location')!);
  }

  /** What an answer of the application amounts to. */
  async resultOf(agent: UserAgent, response: AgentResponse): Promise<LoginResult> {
    const me = await agent.fetch(`${this.app.url}/me`);
    const subject = me.status === 200 ? me.json<{ user: { subject: string } }>().user.subject : null;
    const arrived = response.url === `${this.app.url}/me` && response.status === 200;
    const code = arrived ? null : (/([a-z_]+) · /.exec(response.body)?.[1] ?? 'no error page');
    return { agent, status: response.status, code, subject, response };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.app.close();
    await this.provider.close();
    await this.database.drop();
  }
}
