// One application on one provider with somebody logged in: what tests about grants begin with.
import { setTimeout as sleep } from 'node:timers/promises';
import {
  type OAuthEventMap,
  OAuthEvents,
  type OAuthModuleOptions,
  type oidc,
  type TokenService,
} from '../../src/index.js';
import { FakeProvider, type FakeProviderOptions } from '../../src/testing/index.js';
import { MeController, oidcOf, type RunningApp, startApp } from './app.js';
import { createTestDatabase, type TestDatabase } from './database.js';
import { UserAgent } from './user-agent.js';

/** What {@link startGrants} needs. */
export interface GrantsOptions {
  provider?: FakeProviderOptions;
  definition?: Partial<Parameters<typeof oidc>[0]>;
  oauth?: Partial<OAuthModuleOptions>;
  /** Connection URL other than the database's own, e.g. through a proxy. */
  databaseUrl?: (database: TestDatabase) => string;
}

/** A running application whose grants a test can look into. */
export class Grants implements AsyncDisposable {
  readonly events: { name: keyof OAuthEventMap; [member: string]: unknown }[] = [];
  readonly apps: RunningApp[] = [];

  constructor(
    readonly database: TestDatabase,
    readonly provider: FakeProvider,
    private readonly options: GrantsOptions,
  ) {}

  get app(): RunningApp {
    return this.apps[0]!;
  }

  get tokens(): TokenService {
    return this.app.tokens;
  }

  /** Starts one more application on the same database, as another process would. */
  async another(
    oauth: Partial<OAuthModuleOptions> = {},
    url = this.options.databaseUrl?.(this.database),
  ): Promise<RunningApp> {
    const app = await startApp({
      database: url ?? this.database.url,
      providers: [oidcOf(this.provider, { timeout: 2_000, ...this.options.definition })],
      oauth: { ...this.options.oauth, ...oauth },
    });
    this.apps.push(app);
    const events = app.app.get(OAuthEvents);
    const names = [
      'refreshed', 'refreshFailed', 'reauthRequired', 'retrySkipped', 'revoked', 'subjectMismatch', 'providerUnavailable',
      'providerRecovered', 'alarm', 'logout',
    ] as const; // prettier-ignore
    for (const name of names) events.on(name, (event) => this.events.push({ name, ...event }));
    return app;
  }

  /** Logs somebody in; the user id is the account's. */
  async logIn(
    sub = 'user-1',
    agent = new UserAgent(),
  ): Promise<{ agent: UserAgent; userId: string; grantId: string; sessionId: string }> {
    this.provider.user({ sub, name: sub });
    const page = await agent.navigate(`${this.app.url}/auth/fake/login?returnTo=/me`);
    const { user, session } = JSON.parse(page.body) as { user: { id: string }; session: { id: string } };
    const [row] = await this.database.query<{ grant_id: string }>('select grant_id from oauth_sessions where id = $1', [
      session.id,
    ]);
    return { agent, userId: user.id, sessionId: session.id, grantId: row!.grant_id };
  }

  /** Makes stored access tokens look expired, as of an hour ago. */
  async expire(): Promise<void> {
    await this.database.query(
      `update oauth_access_tokens set issued_at = now() - interval '2 hours', expires_at = now() - interval '1 hour', refreshed_at = null`,
    );
  }

  /** Ends leases and pauses, as the time would. */
  async endLeases(): Promise<void> {
    await this.database.query(
      `update oauth_grants set lease_until = now() - interval '1 second' where lease_until is not null`,
    );
  }

  async grant(id: string): Promise<Record<string, unknown>> {
    return (await this.database.query('select * from oauth_grants where id = $1', [id]))[0]!;
  }

  seen(name: keyof OAuthEventMap): Record<string, unknown>[] {
    return this.events.filter((event) => event.name === name);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const app of this.apps) await app.close();
    await this.provider.close();
    await this.database.drop();
  }
}

/** Starts everything. */
export async function startGrants(options: GrantsOptions = {}): Promise<Grants> {
  const [database, provider] = await Promise.all([createTestDatabase(), FakeProvider.start(options.provider)]);
  const grants = new Grants(database, provider, options);
  MeController.apiUrl = `${provider.apiUrl}/me`;
  await grants.another();
  return grants;
}

/** Waits for something to become true. */
export async function until(condition: () => boolean | Promise<boolean>, patience = 10_000): Promise<void> {
  for (const end = performance.now() + patience; !(await condition()); await sleep(20))
    if (performance.now() > end) throw new Error('waited in vain');
}
