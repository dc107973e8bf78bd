// Refreshes, logouts, new logins, changes of keys, lost answers and dying processes in any order, on a real Postgres and
// a provider that rotates refresh tokens and punishes reuse. More runs: INTERLEAVINGS=500 npm test -- interleavings.
// A failure names seed and path; INTERLEAVINGS_SEED and INTERLEAVINGS_PATH begin with that very plan.
import fc from 'fast-check';
import { anyPlan, type Step } from '../../support/interleaving/plan.js';
import { Rules } from '../../support/interleaving/rules.js';
import { World } from '../../support/interleaving/world.js';

const { INTERLEAVINGS, INTERLEAVINGS_SEED, INTERLEAVINGS_PATH } = process.env;
const limit = INTERLEAVINGS ? 3_600_000 : 18_000;

describe('grants, whatever happens', () => {
  let world: World;

  beforeAll(async () => {
    world = await World.create();
  });
  afterAll(() => world?.close());

  async function run(plan: readonly Step[]): Promise<string[]> {
    await world.begin();
    const rules = new Rules(world);
    try {
      for (const step of plan) {
        await world.take(step);
        await rules.check();
      }
      return await rules.judge();
    } finally {
      world.refreshes.open();
    }
  }

  it(
    'keep every rule: newest token wins, logged out stays out, no double refresh, nobody stuck, nobody else’s token, all seals open',
    async () => {
      let runs = 0;
      let refreshes = 0;
      await fc.assert(
        fc.asyncProperty(anyPlan, async (plan) => {
          const broken = await run(plan);
          runs += 1;
          refreshes += world.provider.requestsTo('refresh').length;
          if (broken.length > 0) throw new Error(broken.join('\n'));
        }),
        {
          numRuns: Number(INTERLEAVINGS ?? 25),
          ...(INTERLEAVINGS_SEED ? { seed: Number(INTERLEAVINGS_SEED) } : {}),
          ...(INTERLEAVINGS_PATH ? { path: INTERLEAVINGS_PATH } : {}),
          // Much depends on timing: a long run tells the plan as it failed, and has no time for smaller ones.
          endOnFailure: INTERLEAVINGS !== undefined,
          // A slow machine makes fewer runs, not a slower test.
          interruptAfterTimeLimit: limit,
          verbose: 1,
        },
      );
      process.stderr.write(`interleavings: ${runs} plans, ${refreshes} refreshes\n`);
      expect(runs).toBeGreaterThan(0);
      expect(refreshes).toBeGreaterThan(0);
    },
    limit + 60_000,
  );
});
