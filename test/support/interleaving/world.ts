// A world in which grants are refreshed, ended, begun anew and sealed anew, and applications die: carries out one plan.
import { setTimeout as sleep } from 'node:timers/promises';
import { RefreshCommit } from '../../../src/grants/refresh-commit.service.js';
import { type OAuthError, Rekeyer } from '../../../src/index.js';
import { FakeProvider } from '../../../src/testing/index.js';
import { createTestDatabase, type TestDatabase } from '../database.js';
import { until } from '../grants.js';
import { UserAgent } from '../user-agent.js';
import { CrashableApp, KEYS, sealingHeldUp } from './crashable-app.js';
import { HeldRefreshes, senderOf, tokenOf } from './held-refreshes.js';
import { APPS, type Step, USERS } from './plan.js';

/** Time for what was set off by a step to come as far as it can, milliseconds. */
const BREATH = 8;

/** A person of one run. */
export interface Person {
  readonly sub: string;
  readonly provider: 'account' | 'session';
  /** Browsers that are logged in, with the grants behind them. */
  readonly sessions: { agent: UserAgent; grantId: string }[];
  /** Logouts of this person so far: a call that was under way at one may say so. */
  logouts: number;
  userId: string;
}

/** A call that was made, and how it ended. */
export interface Call {
  readonly person: Person;
  readonly app: CrashableApp;
  /** Nothing to call with: logged out before it began. */
  readonly outOfBounds: boolean;
  readonly logoutsBefore: number;
  readonly grantId: string | undefined;
  value?: string;
  error?: string;
  /** Milliseconds since the epoch. */
  readonly began: number;
  /** A logout or login came while it was under way. */
  disturbed?: boolean;
}

/** Everything that one run happens in. */
export class World {
  readonly refreshes: HeldRefreshes;
  apps: CrashableApp[] = [];
  people: Person[] = [];
  calls: Call[] = [];
  /** Subjects for whom a process noted that it is about to refresh, and died: nobody can know whether it still did. */
  readonly undecided = new Set<string>();
  #pending = new Map<Promise<unknown>, { app: CrashableApp; what: string }>();
  #rekeys: { left: number; goOn: () => void }[] = [];
  #deadOwners = new Set<string>();
  #run = 0;
  #started = 0;

  private constructor(
    readonly database: TestDatabase,
    readonly provider: FakeProvider,
  ) {
    this.refreshes = new HeldRefreshes(provider);
  }

  static async create(): Promise<World> {
    const [database, provider] = await Promise.all([
      createTestDatabase(),
      FakeProvider.start({ oidc: false, revocationScope: 'token' }),
    ]);
    const world = new World(database, provider);
    for (let index = 0; index < APPS; index++) world.apps.push(await world.#start());
    return world;
  }

  /** Empties database and memory, and logs everybody in. */
  async begin(): Promise<void> {
    this.#run += 1;
    this.calls = [];
    this.refreshes.clear();
    this.undecided.clear();
    this.provider.clearFaults();
    this.provider.clearRequests();
    await this.database.query(
      'truncate oauth_accounts, oauth_grants, oauth_access_tokens, oauth_sessions, oauth_revocations, oauth_states cascade',
    );
    this.people = Array.from({ length: USERS }, (_, index) => ({
      sub: `run-${this.#run}-user-${index}`,
      provider: index === USERS - 1 ? 'session' : 'account',
      sessions: [],
      logouts: 0,
      userId: '',
    }));
    for (const person of this.people) await this.#logIn(person);
    this.refreshes.close();
  }

  /** Does one step. What it sets off goes on by itself. */
  async take(step: Step): Promise<void> {
    switch (step.do) {
      case 'fetch': {
        const person = this.people[step.user]!;
        if (step.how === 'expired') await this.#expire(person);
        this.#call(person, this.apps[step.app]!, step.how === 'forced');
        break;
      }
      case 'deliver':
        this.refreshes.release(step.which);
        break;
      case 'lose':
        this.refreshes.lose(step.which);
        break;
      case 'refuse':
        this.refreshes.refuse(step.which);
        break;
      case 'login':
        await this.#logIn(this.people[step.user]!);
        break;
      case 'logout':
        await this.#logOut(this.people[step.user]!);
        break;
      case 'rekey':
        this.#rekey(this.apps[step.app]!, step.lasting);
        break;
      case 'hiccup':
        this.apps[0]!.hiccup(step.fate);
        break;
      case 'crash':
        await this.#crash(step.app);
        break;
      case 'time passes':
        await this.#endLeases(false);
    }
    await sleep(BREATH);
    for (const rekey of this.#rekeys) if ((rekey.left -= 1) < 0) rekey.goOn();
  }

  /** Lets everything come to its end. */
  async calmDown(): Promise<void> {
    this.refreshes.open();
    for (const { goOn } of this.#rekeys.splice(0)) goOn();
    const calm = Promise.all([...this.#pending.keys()]).then(() => true);
    const frees = setInterval(() => void this.#endLeases(false).catch(() => undefined), 100);
    try {
      if (!(await Promise.race([calm, sleep(30_000, false, { ref: false })])))
        throw new Error(`calls never ended: ${this.#underWay()}`);
    } finally {
      clearInterval(frees);
    }
    // A write that was lost is repeated within a moment.
    await until(async () => {
      const rows = await this.database.query('select lease_owner from oauth_grants where lease_owner is not null');
      return rows.every(({ lease_owner: owner }) => this.#deadOwners.has(owner as string));
    });
    // The grant may have ended in that moment, and its lease with it: then what could not be written is to be revoked.
    await Promise.all(this.apps.map(({ app }) => app.app.get(RefreshCommit).settled()));
  }

  /** A token of each grant that somebody is logged in with, once all leases are over: a value, or the error's code. */
  async askForAll(): Promise<Map<string, { person: Person; value?: string; error?: string }>> {
    const answers = new Map<string, { person: Person; value?: string; error?: string }>();
    for (const person of this.people)
      for (const { grantId } of person.sessions) {
        for (let attempt = 0; attempt < 4 && answers.get(grantId)?.error !== 'reauth_required'; attempt++) {
          if (answers.get(grantId)?.value) break;
          // The breaker of a process opens after five failures in a row, for a second and a quarter at most.
          if (attempt > 1) await sleep(1_300);
          await this.#endLeases(true);
          await this.#expire(person);
          const answer = await this.#outcome(this.apps[0]!, grantId, false);
          answers.set(grantId, { person, ...answer });
        }
      }
    return answers;
  }

  async close(): Promise<void> {
    this.refreshes.open();
    await Promise.all(this.apps.map((one) => one.close()));
    await this.provider.close();
    await this.database.drop();
  }

  #start(): Promise<CrashableApp> {
    this.#started += 1;
    const { url } = this.database;
    const options = { database: url, provider: this.provider, currentKey: this.#started % KEYS.length };
    return CrashableApp.start(`app-${this.#started}`, options);
  }

  async #logIn(person: Person): Promise<void> {
    this.provider.user({ sub: person.sub });
    const agent = new UserAgent();
    const { app } = this.apps[0]!;
    const page = await agent.navigate(`${app.url}/auth/of-${person.provider}/login?returnTo=/me`);
    const { user, session } = JSON.parse(page.body) as { user: { id: string }; session: { id: string } };
    const [row] = await this.database.query<{ grant_id: string }>('select grant_id from oauth_sessions where id = $1', [
      session.id,
    ]);
    person.userId = user.id;
    person.sessions.push({ agent, grantId: row!.grant_id });
    this.#disturb(person);
  }

  async #logOut(person: Person): Promise<void> {
    const session = person.sessions.shift();
    if (!session) return;
    this.#disturb(person);
    const answer = await session.agent.fetch(`${this.apps[0]!.app.url}/auth/logout`, { method: 'POST' });
    if (answer.status !== 200) throw new Error(`logging out was answered with ${answer.status}`);
    person.logouts += 1;
  }

  #disturb(person: Person): void {
    for (const call of this.calls) if (call.person === person && !call.value && !call.error) call.disturbed = true;
  }

  /** @param lasting steps until what was read first may be written */
  #rekey(app: CrashableApp, lasting: number): void {
    const heldUp = new Promise<void>((goOn) => this.#rekeys.push({ left: lasting, goOn }));
    const rekeyer = app.app.app.get(Rekeyer);
    this.#follow(
      app,
      'rekey',
      sealingHeldUp.run(heldUp, () => rekeyer.rekey({ batchSize: 2 })),
    );
  }

  #call(person: Person, app: CrashableApp, forceRefresh: boolean): void {
    const [session] = person.sessions;
    const call: Call = {
      ...{ person, app, outOfBounds: !session, logoutsBefore: person.logouts, grantId: session?.grantId },
      began: Date.now(),
    };
    this.calls.push(call);
    const ref =
      person.provider === 'account' ? { userId: person.userId, provider: 'of-account' } : (session?.grantId ?? '');
    this.#follow(
      app,
      person.sub,
      this.#outcome(app, ref, forceRefresh).then((outcome) => Object.assign(call, outcome)),
    );
  }

  async #outcome(
    { app }: CrashableApp,
    ref: string | { userId: string; provider: string },
    forceRefresh: boolean,
  ): Promise<{ value: string } | { error: string }> {
    return app.tokens.getAccessToken(ref, { forceRefresh }).then(
      ({ value }) => ({ value }),
      (error: OAuthError) => ({ error: error.code ?? String(error) }),
    );
  }

  #follow(app: CrashableApp, what: string, work: Promise<unknown>): void {
    const quiet = work.catch(() => undefined).finally(() => this.#pending.delete(quiet));
    this.#pending.set(quiet, { app, what });
  }

  #underWay(): string {
    return [...this.#pending.values()].map(({ app, what }) => `${what} at ${app.name}`).join(', ');
  }

  async #crash(index: number): Promise<void> {
    const victim = this.apps[index]!;
    this.refreshes.orphan(victim.name);
    // Answers that are on their way to it, or that it was just about to write.
    const waiting = this.calls.filter((call) => call.app === victim && !call.value && !call.error);
    for (const request of this.provider.requestsTo('refresh')) {
      const sub = this.#tokenOf(request)?.grant.user.sub;
      if (
        senderOf(request) === victim.name &&
        waiting.some((call) => call.person.sub === sub && call.began <= request.at)
      )
        this.refreshes.strike(request);
    }
    await victim.crash();
    // Not before: while it dies it may still take a lease, which nobody would ever end.
    for (const owner of victim.owners) this.#deadOwners.add(owner);
    const noted = await this.database.query<{ subject: string }>(
      `select a.subject from oauth_grants g join oauth_accounts a on a.id = g.account_id where g.lease_owner = any($1::uuid[])`,
      [[...victim.noted]],
    );
    for (const { subject } of noted) this.undecided.add(subject);
    // What it had sent and was not answered yet is processed all the same, or not at all.
    this.apps[index] = await this.#start();
  }

  #tokenOf(request: Parameters<typeof tokenOf>[0]): { grant: { user: { sub: string } } } | undefined {
    return (
      this.provider as unknown as {
        core: { store: { refreshTokens: Map<string, { grant: { user: { sub: string } } }> } };
      }
    ).core.store.refreshTokens.get(tokenOf(request));
  }

  async #expire({ userId, sub }: Person): Promise<void> {
    await this.database.query(
      `update oauth_access_tokens t set issued_at = issued_at - interval '2 hours', expires_at = now() - interval '1 second'
       from oauth_grants g join oauth_accounts a on a.id = g.account_id where t.grant_id = g.id and a.user_id = $1 and a.subject = $2`,
      [userId, sub],
    );
  }

  /** Pauses and the leases of the dead come to their end; those of the living only where nothing is under way. */
  async #endLeases(all: boolean): Promise<void> {
    await this.database.query(
      `update oauth_grants set lease_until = now() - interval '1 second'
       where lease_until is not null and ($1 or lease_owner is null or lease_owner = any($2::uuid[]))`,
      [all, [...this.#deadOwners]],
    );
  }
}
