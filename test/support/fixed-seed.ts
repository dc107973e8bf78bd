// Where property tests begin in `npm test`: import this file, and every run of the file's properties draws the same
// inputs. What fails today failed yesterday too, and a change is judged by the inputs that judged the one before it;
// random seeds are for `npm run fuzz`, or for a run with FUZZ_SEED=… npm test.
import fc from 'fast-check';

/** Any number would do. */
export const fixedSeed = Number(process.env.FUZZ_SEED ?? 20_261_122);

fc.configureGlobal({ ...fc.readConfigureGlobal(), seed: fixedSeed });
