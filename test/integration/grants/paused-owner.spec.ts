// The owner of a lease stands still in the middle of a refresh: stopped by the system, or its event loop blocked. Real
// processes, one provider that rotates refresh tokens and revokes a family on reuse.
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import type { FakeProvider } from '../../../src/testing/index.js';
import { Process, type Setting } from '../../storm/scenarios.js';
import { seed, type SeededGrant, stormProvider } from '../../storm/surroundings.js';
import { createTestDatabase, type TestDatabase } from '../../support/database.js';
import { type QueryLog, startQueryLog } from '../../support/query-log.js';

describe('an owner that stands still', () => {
  let database: TestDatabase;
  let provider: FakeProvider;
  let pool: pg.Pool;
  let log: QueryLog;
  let owner: Process;
  let other: Process;
  let grant: SeededGrant;

  beforeEach(async () => {
    [database, provider] = await Promise.all([createTestDatabase(), stormProvider()]);
    pool = new pg.Pool({ connectionString: database.url, max: 2, application_name: 'storm' });
    log = await startQueryLog({ url: database.url });
    [grant] = (await seed(pool, provider, 1)) as [SeededGrant];
  });
  /** Starts owner and other. @param timeout the owner's, milliseconds */
  async function start(timeout: number): Promise<void> {
    const setting: Setting = { route: 'direct', database: database.url, pool, provider, source: 'src' };
    owner = Process.start({ ...setting, database: log.url }, { timeout, poolSize: 4, floor: 0 });
    other = Process.start(setting, { timeout: 20_000, poolSize: 4, floor: 0 });
    await Promise.all([owner.ready, other.ready]);
  }
  afterEach(async () => {
    owner.child.kill('SIGCONT');
    await Promise.all([owner.end(), other.end()]);
    await log.close();
    await pool.end();
    await provider.close();
    await database.drop();
  });

  const stored = async (): Promise<Record<string, unknown>> =>
    (await pool.query<Record<string, unknown>>('select version, status, refresh_token, lease_owner from oauth_grants'))
      .rows[0]!;
  /** What the passing of a whole lease would do. */
  const passLease = () => pool.query(`update oauth_grants set lease_until = now() - interval '1 second'`);
  const expire = () =>
    pool.query(
      `update oauth_access_tokens set issued_at = now() - interval '2 hours', expires_at = now() - interval '1 hour'`,
    );

  /** The other one refreshes while the owner stands still; then the owner goes on. @returns what either got */
  async function overtake(stopped: ReturnType<Process['burst']>) {
    await passLease();
    const [newer] = await other.burst([grant.id], 1);
    const now = await stored();
    expect(now).toMatchObject({ version: 2, status: 'active', lease_owner: null });
    owner.child.kill('SIGCONT');
    const [late] = await stopped;
    expect(await stored()).toEqual(now);
    return { newer: newer!, late: late! };
  }

  it('E-038 stopped past its lease with the answer on its way never overwrites the newer refresh token', async () => {
    await start(20_000);
    provider.configure({ reuseGracePeriod: 60_000 });
    const hold = provider.hold('refresh');
    const stopped = owner.burst([grant.id], 1);
    await hold.arrived;
    owner.child.kill('SIGSTOP');
    hold.release();
    const { newer, late } = await overtake(stopped);
    // It finds the version moved, drops what it got, and gives its caller the token that is there.
    expect(newer.value).toBeTruthy();
    expect(late.value).toBe(newer.value);
    await expire();
    const [next] = await owner.burst([grant.id], 1);
    expect(next!.value).toBeTruthy();
    expect(next!.value).not.toBe(newer.value);
    expect(provider.counters.familiesRevoked).toBe(0);
  });

  it('E-038 stopped past its lease before it sent anything sends nothing afterwards', async () => {
    await start(1_000);
    const noted = new Promise<void>((resolve) => {
      log.decide = ({ sql }) => {
        if (sql.includes('set refresh_sent_at = clock_timestamp()')) {
          owner.child.kill('SIGSTOP');
          resolve();
        }
        return 'pass';
      };
    });
    const stopped = owner.burst([grant.id], 1);
    await noted;
    await sleep(1_200);
    const { newer, late } = await overtake(stopped);
    expect(newer.value).toBeTruthy();
    expect(late).toMatchObject({ error: 'provider_unavailable' });
    expect(provider.counters).toMatchObject({ refreshes: 1, refreshReuses: 0, familiesRevoked: 0 });
    expect((await owner.burst([grant.id], 1))[0]).toMatchObject({ value: newer.value });
  });

  it('E-046 its event loop blocked for 5 s costs no second refresh: the AS counts 1, the family is alive, all are served', async () => {
    await start(20_000);
    const hold = provider.hold('refresh');
    const owned = owner.burst([grant.id], 20);
    await hold.arrived;
    owner.block(5_000);
    hold.release();
    const began = performance.now();
    const results = [...(await other.burst([grant.id], 20)), ...(await owned)];
    expect(performance.now() - began).toBeGreaterThan(4_000);
    expect(new Set(results.map(({ value, error }) => value ?? error)).size).toBe(1);
    expect(results[0]!.value).toBeTruthy();
    expect(provider.counters).toMatchObject({ refreshes: 1, refreshReuses: 0, familiesRevoked: 0 });
    await expire();
    expect((await other.burst([grant.id], 1))[0]!.value).toBeTruthy();
  });
});
