// The storm: several processes, one Postgres, one provider that rotates refresh tokens and revokes a family on reuse.
import { type ChildProcess, fork } from 'node:child_process';
import { loadavg } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type pg from 'pg';
import type { FakeProvider } from '../../src/testing/index.js';
import { definitionOf, endChild, type Route, seed, type SeededGrant, STORM_KEY, storeOf } from './surroundings.js';

/** One line of the storm's report. */
export interface Outcome {
  scenario: string;
  processes: number;
  grants: number;
  calls: number;
  /** Carried out by the provider. */
  refreshes: number;
  errors: number;
  familiesLost: number;
  waitP50Ms: number;
  waitP99Ms: number;
  /** Connections to the database at most, all processes together. */
  maxConnections: number;
  /** Load average of the last minute when it ended: waiting times mean little on a busy machine. */
  load: number;
  pass: boolean;
  /** What was wrong, or worth knowing. */
  notes: string[];
}

/** Where it blows. */
export interface Setting {
  readonly route: Route;
  /** What the processes connect to. */
  readonly database: string;
  /** Direct connection of the storm itself. */
  readonly pool: pg.Pool;
  readonly provider: FakeProvider;
  readonly source: 'src' | 'dist';
}

interface Result {
  grantId: string;
  value?: string;
  error?: string;
  /** The cause of the error. */
  because?: string;
  ms: number;
}

const worker = fileURLToPath(new URL('./worker.mjs', import.meta.url));
/** Nothing listens there. */
const NOWHERE = 'postgres://nobody@127.0.0.1:9/none';

/** One process of the storm, which does as it is told. */
export class Process {
  readonly ready: Promise<void>;
  isReady = false;
  /** The longest refresh of the last burst, request to answer. */
  refreshMs = 0;
  onLooped: (result: Result) => void = () => undefined;
  #results: ((results: Result[]) => void) | undefined;

  private constructor(readonly child: ChildProcess) {
    this.ready = new Promise((resolve, reject) => {
      child.on('exit', (code, signal) => reject(new Error(`a process ended: ${code ?? signal}`)));
      child.on('message', (message: { kind: string; results: Result[]; refreshMs: number; result: Result }) => {
        if (message.kind === 'ready') {
          this.isReady = true;
          resolve();
        }
        if (message.kind === 'results') {
          this.refreshMs = message.refreshMs;
          this.#results?.(message.results);
        }
        if (message.kind === 'looped') this.onLooped(message.result);
      });
    });
    this.ready.catch(() => undefined);
  }

  static start(
    setting: Setting,
    { timeout, poolSize, floor }: { timeout: number; poolSize: number; floor: number },
  ): Process {
    const settings = {
      source: setting.source,
      database: setting.database,
      key: STORM_KEY,
      poolSize,
      floor,
      provider: definitionOf(setting.provider, timeout),
      ...(setting.route === 'no-listen' ? { listenUrl: NOWHERE } : {}),
    };
    const env = { ...process.env, STORM_SETTINGS: JSON.stringify(settings), NODE_OPTIONS: '' };
    return new Process(
      fork(worker, { env, execArgv: ['--no-warnings'], stdio: ['ignore', 'inherit', 'inherit', 'ipc'] }),
    );
  }

  burst(grantIds: readonly string[], callers: number): Promise<Result[]> {
    return new Promise((resolve) => {
      this.#results = resolve;
      this.child.send({ kind: 'burst', grantIds, callers });
    });
  }

  /** Blocks its event loop. */
  block(milliseconds: number): void {
    this.child.send({ kind: 'block', milliseconds });
  }

  end(): Promise<void> {
    return endChild(this.child);
  }
}

/** Watches the connections to the database while something happens. */
class ConnectionWatch {
  max = 0;
  idleInTransaction = 0;
  #stopped = false;
  readonly #watching: Promise<void>;

  constructor(pool: pg.Pool) {
    this.#watching = this.#watch(pool);
  }

  async stop(): Promise<this> {
    this.#stopped = true;
    await this.#watching;
    return this;
  }

  async #watch(pool: pg.Pool): Promise<void> {
    while (!this.#stopped) {
      const { rows } = await pool.query<{ all: number; idle: number }>(
        `select count(*)::integer as all, count(*) filter (where state like 'idle in transaction%' and now() - state_change > interval '100 ms')::integer as idle
         from pg_stat_activity where datname = current_database() and application_name <> 'storm'`,
      );
      this.max = Math.max(this.max, rows[0]!.all);
      this.idleInTransaction = Math.max(this.idleInTransaction, rows[0]!.idle);
      await sleep(50);
    }
  }
}

/** `processes` × `callers` at once for each of `grants`: one refresh a grant, everybody gets the token of their own. */
export async function burst(
  setting: Setting,
  {
    processes,
    grants: count,
    callers,
    latency,
    allowance = 250,
  }: {
    processes: number;
    grants: number;
    callers: number;
    latency: [number, number];
    /** What waiters may wait beyond the refresh itself at the 99th percentile, milliseconds. */
    allowance?: number;
  },
): Promise<Outcome> {
  const { provider, pool } = setting;
  const grants = await seed(pool, provider, count);
  const workers = Array.from({ length: processes }, () =>
    Process.start(setting, { timeout: 10_000, poolSize: 10, floor: 30 }),
  );
  const slow = provider.fault('refresh', { kind: 'latency', ms: latency });
  try {
    await Promise.all(workers.map((one) => one.ready));
    // Connections are opened and code is compiled before anything is measured.
    const first = (await seed(pool, provider, workers.length)).map((grant) => grant.id);
    await Promise.all(workers.map((one, index) => one.burst([first[index]!], 200)));
    const before = { ...provider.counters };
    const watch = new ConnectionWatch(pool);
    const ids = grants.map((grant) => grant.id);
    const results = (await Promise.all(workers.map((one) => one.burst(ids, callers)))).flat();
    await watch.stop();
    const notes = complaintsOf(results, grants, provider);
    const refreshes = provider.counters.refreshes - before.refreshes;
    const run = { processes, grants: count, results, before, watch, notes };
    const outcome = summary(setting, `burst ${count} grants`, run);
    if (refreshes !== count) notes.push(`${refreshes} refreshes instead of ${count}`);
    // With one grant the wait is the refresh; with many it is the machine that is measured.
    const refreshMs = Math.max(...workers.map((one) => one.refreshMs));
    if (count === 1 && outcome.waitP99Ms > refreshMs + allowance)
      notes.push(`the waiters' p99, ${outcome.waitP99Ms} ms, is above the refresh (${refreshMs} ms) + ${allowance} ms`);
    return judged(outcome);
  } finally {
    slow.clear();
    await Promise.all(workers.map((one) => one.end()));
  }
}

/** SIGKILL every 500 ms under load; then every grant is usable or says `reauth_required`, none is stuck past its lease. */
export async function kills(
  setting: Setting,
  {
    processes,
    grants: count,
    seconds,
    waitForLeases = true,
  }: {
    processes: number;
    grants: number;
    seconds: number;
    /** False: leases are moved into the past instead, by as long as they may last. */
    waitForLeases?: boolean;
  },
): Promise<Outcome> {
  const { provider, pool } = setting;
  const timeout = 2_000;
  const grants = await seed(pool, provider, count);
  const ids = grants.map((grant) => grant.id);
  const before = { ...provider.counters };
  const slow = provider.fault('refresh', { kind: 'latency', ms: [50, 200] });
  const watch = new ConnectionWatch(pool);
  const results: Result[] = [];
  const start = (): Process => {
    const one = Process.start(setting, { timeout, poolSize: 5, floor: 0 });
    one.onLooped = (result) => void results.push(result);
    one.ready.then(() => one.child.send({ kind: 'loop', grantIds: ids })).catch(() => undefined);
    return one;
  };
  let workers = Array.from({ length: processes }, start);
  let killed = 0;
  try {
    await Promise.all(workers.map((one) => one.ready));
    for (const end = performance.now() + seconds * 1000; performance.now() < end; await sleep(500)) {
      const victim = workers.filter((one) => one.isReady).at(Math.floor(Math.random() * processes));
      if (!victim) continue;
      killed += 1;
      await victim.end();
      workers = [...workers.filter((one) => one !== victim), start()];
    }
    await Promise.all(workers.map((one) => one.end()));
    await watch.stop();
    // A lease lasts for the provider's deadline and 30 s more: then nothing may be left of the killed ones.
    const longest = timeout + 30_500;
    if (waitForLeases) await sleep(longest);
    else
      await pool.query(
        `update oauth_grants set lease_until = lease_until - make_interval(secs => $1) where lease_until is not null`,
        [longest / 1000],
      );
    const notes: string[] = [];
    await pool.query(
      `update oauth_access_tokens set issued_at = now() - interval '2 hours', expires_at = now() - interval '1 hour' where grant_id = any($1)`,
      [ids],
    );
    // Its own deadline is not what is judged: all grants at once, cold, on a busy machine take longer than one refresh.
    const last = Process.start(setting, { timeout: 10_000, poolSize: 10, floor: 0 });
    await last.ready;
    const after = await last.burst(ids, 1);
    await last.end();
    const usable = after.filter((result) => result.value !== undefined);
    const ended = after.filter((result) => result.error === 'reauth_required');
    const stuck = after.filter((result) => result.value === undefined && result.error !== 'reauth_required');
    for (const result of stuck.slice(0, 3))
      notes.push(`grant ${result.grantId} is stuck: ${result.error} (${result.because ?? 'no cause'})`);
    notes.push(...complaintsOf(usable, grants, provider));
    const lost = provider.counters.familiesRevoked - before.familiesRevoked;
    if (lost > killed) notes.push(`${lost} families lost by ${killed} kills`);
    if (ended.length > killed) notes.push(`${ended.length} grants ended by ${killed} kills`);
    const troubles = results.filter(
      (result) => result.error !== undefined && !['reauth_required', 'provider_unavailable'].includes(result.error),
    );
    if (troubles.length > 0)
      notes.push(`calls failed with ${[...new Set(troubles.map((result) => result.error))].join(', ')}`);
    const pass = notes.length === 0;
    notes.push(`${killed} kills: ${usable.length} grants usable, ${ended.length} reauth_required`);
    const run = { processes, grants: count, results, before, watch, notes };
    const outcome = summary(setting, 'kills', run);
    return { ...outcome, errors: troubles.length + stuck.length, pass };
  } finally {
    slow.clear();
    await watch.stop();
    await Promise.all(workers.map((one) => one.end()));
  }
}

/** The provider holds every refresh: no connection is kept meanwhile, and all succeed once it answers. */
export async function stalled(
  setting: Setting,
  { processes, grants: count, seconds }: { processes: number; grants: number; seconds: number },
): Promise<Outcome> {
  const { provider, pool } = setting;
  const grants = await seed(pool, provider, count);
  const before = { ...provider.counters };
  const workers = Array.from({ length: processes }, () =>
    Process.start(setting, { timeout: 20_000, poolSize: 5, floor: 30 }),
  );
  try {
    await Promise.all(workers.map((one) => one.ready));
    const hold = provider.hold('refresh', 'before');
    const watch = new ConnectionWatch(pool);
    const asked = Promise.all(
      workers.map((one) =>
        one.burst(
          grants.map((grant) => grant.id),
          1,
        ),
      ),
    );
    await hold.arrived;
    await sleep(seconds * 1000);
    const { idleInTransaction } = await watch.stop();
    hold.release();
    const results = (await asked).flat();
    const notes = complaintsOf(results, grants, provider);
    if (idleInTransaction > 0) notes.push(`${idleInTransaction} connections were idle in transaction`);
    const run = { processes, grants: count, results, before, watch, notes };
    return judged(summary(setting, 'stalled provider', run));
  } finally {
    await Promise.all(workers.map((one) => one.end()));
  }
}

/** Tokens of another user, or of none. */
function complaintsOf(results: readonly Result[], grants: readonly SeededGrant[], provider: FakeProvider): string[] {
  const subjects = new Map(grants.map((grant) => [grant.id, grant.subject]));
  const { accessTokens } = storeOf(provider);
  const foreign = results.filter(
    ({ grantId, value }) => value !== undefined && accessTokens.get(value)?.grant.user.sub !== subjects.get(grantId),
  );
  const notes = foreign.length > 0 ? [`${foreign.length} callers got a token of somebody else`] : [];
  const byGrant = new Map<string, Set<string>>();
  for (const { grantId, value } of results)
    if (value !== undefined) byGrant.set(grantId, (byGrant.get(grantId) ?? new Set()).add(value));
  const several = [...byGrant.values()].filter((values) => values.size > 1).length;
  return several > 0 ? [...notes, `${several} grants gave out several tokens`] : notes;
}

/** Passes when there is nothing to note, no call failed, and no family was lost. */
function judged(outcome: Omit<Outcome, 'pass'>): Outcome {
  const { notes, errors, familiesLost } = outcome;
  return { ...outcome, pass: notes.length === 0 && errors === 0 && familiesLost === 0 };
}

function summary(
  { route, provider }: Setting,
  scenario: string,
  of: {
    processes: number;
    grants: number;
    results: readonly Result[];
    before: FakeProvider['counters'];
    watch: ConnectionWatch;
    notes: string[];
  },
): Omit<Outcome, 'pass'> {
  const waits = of.results.map((result) => result.ms).sort((a, b) => a - b);
  const at = (share: number): number =>
    Math.round(waits[Math.min(waits.length - 1, Math.floor(waits.length * share))] ?? 0);
  const failed = of.results.filter((result) => result.error !== undefined);
  if (failed.length > 0 && scenario !== 'kills')
    of.notes.push(`${failed.length} calls failed, e.g. ${failed[0]!.error}`);
  return {
    scenario: `${scenario} (${route})`,
    processes: of.processes,
    grants: of.grants,
    calls: of.results.length,
    refreshes: provider.counters.refreshes - of.before.refreshes,
    errors: failed.length,
    familiesLost: provider.counters.familiesRevoked - of.before.familiesRevoked,
    waitP50Ms: at(0.5),
    waitP99Ms: at(0.99),
    maxConnections: of.watch.max,
    load: Math.round(loadavg()[0]! * 100) / 100,
    notes: of.notes,
  };
}
