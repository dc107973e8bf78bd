// Connections given out in bounds, whatever the pool does meanwhile.
import pg from 'pg';
import { Deadline } from '../../src/database/deadline.js';
import { PoolLine } from '../../src/database/pool-line.js';
import { testServerUrl } from '../support/database.js';

/** A pool with one idle connection, or as many as it may have. */
async function warmPool(options: pg.PoolConfig = {}): Promise<pg.Pool> {
  const pool = new pg.Pool({ connectionString: testServerUrl(), max: 1, ...options });
  const clients = await Promise.all(Array.from({ length: pool.options.max }, () => pool.connect()));
  for (const client of clients) client.release();
  return pool;
}

describe('the line before the pool', () => {
  it('gives an idle connection that nobody waits for at once', async () => {
    const pool = await warmPool();
    const line = new PoolLine(() => pool);
    const taken: pg.PoolClient[] = [];
    line.lend(new Deadline(300, 300), (_, client) => taken.push(client!));
    expect(taken).toHaveLength(1);
    expect([pool.idleCount, pool.waitingCount]).toEqual([0, 0]);
    line.giveBack(taken[0]!);
    expect(taken[0]!.listenerCount('error')).toBe(1);
    await pool.end();
  });

  it('takes no connection before somebody who asked the pool earlier in the same turn', async () => {
    const pool = await warmPool({ max: 2 });
    const line = new PoolLine(() => pool);
    const order: string[] = [];
    pool.connect((_, client) => (order.push('application'), client!.release()));
    line.lend(new Deadline(300, 300), (_, client) => (order.push('ours'), line.giveBack(client!)));
    expect(order).toEqual([]);
    await new Promise((resolve) => setImmediate(resolve));
    expect(order).toEqual(['application', 'ours']);
    await pool.end();
  });

  it.each([{}, { connectionTimeoutMillis: 5_000 }])(
    'turns away who asked for an idle connection behind somebody else in the turn in which the pool is ended (%j)',
    async (options) => {
      const pool = await warmPool({ max: 2, ...options });
      void pool.connect().catch(() => undefined);
      const taking = new PoolLine(() => pool).take(new Deadline(1_000, 1_000)).then(
        () => 'taken',
        () => 'turned away',
      );
      const ended = pool.end();
      const late = new Promise<string>((resolve) => setTimeout(resolve, 2_000, 'left waiting').unref());
      expect(await Promise.race([taking, late])).toBe('turned away');
      await ended;
    },
  );

  it('turns away who asks a pool that is being ended', async () => {
    const pool = await warmPool();
    const ended = pool.end();
    await expect(new PoolLine(() => pool).take(new Deadline(300, 300))).rejects.toThrow(/after calling end/);
    await ended;
  });

  it.each(['begin', 'begin; selec'])(
    'gives out no connection that was given back after %j, at once or in line',
    async (sql) => {
      const pool = await warmPool();
      const line = new PoolLine(() => pool);
      for (const busy of [false, true]) {
        const client = await pool.connect();
        // One message would end with its error.
        for (const statement of sql.split('; ')) await client.query(statement).catch(() => undefined);
        const taking = busy ? line.take(new Deadline(3_000)) : undefined;
        client.release();
        const taken = await (taking ?? line.take(new Deadline(3_000)));
        expect(taken === client).toBe(false);
        await expect(taken.query('savepoint one')).rejects.toThrow(/can only be used in transaction blocks/);
        line.giveBack(taken);
      }
      expect([pool.totalCount, pool.idleCount]).toEqual([1, 1]);
      await pool.end();
    },
  );

  it('gives one idle connection to one of many, and the others wait no longer than they may', async () => {
    const pool = await warmPool();
    const line = new PoolLine(() => pool);
    const outcomes = await Promise.allSettled(Array.from({ length: 20 }, () => line.take(new Deadline(300, 300))));
    const taken = outcomes.filter((outcome) => outcome.status === 'fulfilled');
    expect(taken).toHaveLength(1);
    taken[0]!.value.release();
    // The places of those who gave up stand in nobody's way.
    const next = await line.take(new Deadline(300, 300));
    next.release();
    await pool.end();
  });
});
