// Connections given out in bounds, whatever the pool does meanwhile.
import pg from 'pg';
import { Deadline, PoolLine } from '../../src/database/pool-line.js';
import { testServerUrl } from '../support/database.js';

/** A pool with one idle connection. */
async function warmPool(options: pg.PoolConfig = {}): Promise<pg.Pool> {
  const pool = new pg.Pool({ connectionString: testServerUrl(), max: 1, ...options });
  (await pool.connect()).release();
  return pool;
}

describe('the line before the pool', () => {
  it.each([{}, { connectionTimeoutMillis: 5_000 }])(
    'turns away who asked for an idle connection in the turn in which the pool is ended (%j)',
    async (options) => {
      const pool = await warmPool(options);
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
