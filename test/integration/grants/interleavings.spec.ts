// Refreshes, logouts, new logins, changes of keys, lost answers and dying processes in any order, on a real Postgres and
// a provider that rotates refresh tokens and punishes reuse. More and other plans: INTERLEAVINGS=500 npm test -- interleavings,
// or npm run fuzz. A failure names seed and path; INTERLEAVINGS_SEED and INTERLEAVINGS_PATH begin with that very plan.
import { fixedSeed } from '../../support/fixed-seed.js';
import { tryPlans } from '../../support/interleaving/trial.js';

const { INTERLEAVINGS, INTERLEAVINGS_SEED, INTERLEAVINGS_PATH: path } = process.env;
const limit = INTERLEAVINGS ? 3_600_000 : 18_000;

describe('grants, whatever happens', () => {
  it(
    'keep every rule: newest token wins, logged out stays out, no double refresh, nobody stuck, nobody else’s token, all seals open',
    async () => {
      const random = Math.trunc(Math.random() * 2 ** 31);
      const seed = Number(INTERLEAVINGS_SEED ?? (INTERLEAVINGS ? random : fixedSeed));
      const tried = await tryPlans({
        ...{ plans: Number(INTERLEAVINGS ?? 25), seed, path, limit },
        shrink: INTERLEAVINGS === undefined,
      });
      const { plans, refreshes, failure } = tried;
      process.stderr.write(`interleavings: ${plans} plans, ${refreshes} refreshes, seed ${seed}\n`);
      expect(failure).toBeNull();
      expect(plans).toBeGreaterThan(0);
      expect(refreshes).toBeGreaterThan(0);
    },
    limit + 120_000,
  );
});
