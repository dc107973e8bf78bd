// What a deployment is sized by, besides the guard and the login: memory per cached session, how soon an ended session
// is refused, sessions extended and ended per second, with and without notifications, refreshes per second.
import { cachedMemory } from './cached-memory.mjs';
import { endingRows, revocationRow } from './endings.mjs';
import { startStub } from './people.mjs';
import { refreshRow } from './refreshes.mjs';
import { makeStores } from './stores.mjs';
import { touchRow } from './touches.mjs';

export const columns = [
  ...['measure', 'variant', 'sessions', 'concurrency', 'listeners', 'cached', 'bytesPerSession'],
  ...['bytesPerSessionBefore', 'heapMb', 'endingsPerSecond', 'ofNoTriggers', 'heard', 'refreshesPerSecond', 'spread'],
  ...['touchesPerSecond', 'walBytesPerTouch', 'heapOnly'],
  ...['p50Ms', 'p99Ms', 'nodeCpuMsPerRefresh', 'pgCpuMsPerRefresh', 'statements', 'roundTrips', 'bytesPerRefresh'],
];

const plans = {
  quick: { sessions: 100_000, step: 5_000, rounds: 2, seconds: 0.5, revocations: 50, people: 200, refreshRounds: 3 },
  full: { sessions: 400_000, step: 12_000, rounds: 3, seconds: 1, revocations: 200, people: 500, refreshRounds: 5 },
};

export async function run(context) {
  const { postgres, log } = context;
  const plan = context.quick ? plans.quick : plans.full;
  const stub = await startStub();
  const variants = ['ours', 'ours-cached', 'lru'];
  const { sessions } = plan;
  const stores = await makeStores({ postgres, variants, sessions, log });
  const rows = await cachedMemory({ stores, stub, step: plan.step });
  log('  memory');
  rows.push(await revocationRow({ stores, stub, count: plan.revocations }));
  rows.push(await touchRow({ postgres, stores, sessions, rounds: plan.rounds, statements: 5 }));
  rows.push(...(await endingRows({ postgres, stores, sessions, rounds: plan.rounds, seconds: plan.seconds })));
  log('  endings');
  rows.push(await refreshRow({ postgres, stores, people: plan.people, rounds: plan.refreshRounds }));
  await stub.stop();
  await stores.drop();
  return rows;
}
