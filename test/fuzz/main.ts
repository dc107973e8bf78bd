// `npm run fuzz`: hostile input without end, against the module on every platform. In the environment:
// FUZZ_CASES how many (100,000), FUZZ_SEED and FUZZ_PATH what a failure printed, FUZZ_ONLY the platform and family it named.
import fc from 'fast-check';
import globalSetup from '../support/global-setup.mjs';
import globalTeardown from '../support/global-teardown.mjs';
import { SERVER_VARIABLE } from '../support/test-server.mjs';
import { answerFamilies } from './answers.js';
import type { Family } from './family.js';
import { judgeProcess } from './invariants.js';
import { requestFamilies } from './requests.js';
import { Target, type TargetName, TARGETS } from './target.js';

const { FUZZ_CASES: cases = '100000', FUZZ_SEED, FUZZ_PATH: path, FUZZ_ONLY: only = '' } = process.env;
const seed = FUZZ_SEED === undefined ? Math.trunc(Math.random() * 2 ** 31) : Number(FUZZ_SEED);
const families = [...requestFamilies, ...answerFamilies];

interface Outcome {
  readonly target: TargetName;
  readonly family: string;
  readonly runs: number;
  readonly statuses: ReadonlyMap<number, number>;
  readonly failure: string | null;
}

// The test runner has a server already.
const own = process.env[SERVER_VARIABLE] === undefined;
if (own) await globalSetup();
const began = performance.now();
let outcomes: Outcome[];
try {
  outcomes = (await Promise.all(TARGETS.map(fuzz))).flat();
} finally {
  if (own) await globalTeardown();
}
const runs = outcomes.reduce((sum, outcome) => sum + outcome.runs, 0);
const failures = outcomes.filter(({ failure }) => failure !== null);
for (const { failure } of failures) console.error(failure);
for (const { name } of families) console.log(`${name}: ${tally(name)}`);
const seconds = Math.round((performance.now() - began) / 100) / 10;
console.log(`${runs} cases in ${seconds} s, seed ${seed}, ${failures.length} failures`);
process.exit(failures.length === 0 ? 0 : 1);

/** All families against one target, one after the other. */
async function fuzz(name: TargetName): Promise<Outcome[]> {
  const chosen = families.filter((one) => `${name}/${one.name}`.includes(only));
  if (chosen.length === 0) return [];
  const target = await Target.start(name);
  const found: Outcome[] = [];
  try {
    for (const one of chosen) found.push(await fuzzWith(target, one));
    found.push({ target: name, family: 'afterwards', runs: 0, statuses: new Map(), failure: await afterwards(target) });
  } finally {
    await target.close();
  }
  return found;
}

async function fuzzWith(target: Target, one: Family): Promise<Outcome> {
  const numRuns = path === undefined ? Math.ceil((Number(cases) * one.share) / TARGETS.length) : 1;
  target.statuses.clear();
  const details = await fc.check(one.property(target), {
    seed,
    numRuns,
    // Each case costs a few requests; beyond this a smaller example is not worth the wait.
    interruptAfterTimeLimit: 3_600_000,
    ...(path === undefined ? {} : { path }),
  });
  const where = `${target.name}/${one.name}`;
  const again = `FUZZ_SEED=${details.seed} FUZZ_PATH=${details.counterexamplePath} FUZZ_ONLY=${JSON.stringify(where)} npm run fuzz`;
  const { errorInstance: error } = details;
  const reason = error instanceof Error ? error.stack : String(error);
  return {
    target: target.name,
    family: one.name,
    runs: details.numRuns,
    statuses: new Map(target.statuses),
    failure: details.failed
      ? `${where}: ${reason}
${fc.defaultReportMessage(details)}
The same case again: ${again}
`
      : null,
  };
}

/** How often each status was answered in a family: a family of one status alone would try nothing. */
function tally(name: string): string {
  const sums = new Map<number, number>();
  for (const { family, statuses } of outcomes)
    if (family === name) for (const [status, count] of statuses) sums.set(status, (sums.get(status) ?? 0) + count);
  return [...sums]
    .sort(([a], [b]) => a - b)
    .map(([status, count]) => `${status} × ${count}`)
    .join(', ');
}

/** After all of it the application still serves people, and nothing was left unhandled. @returns what is wrong, or null */
async function afterwards(target: Target): Promise<string | null> {
  target.refresh();
  try {
    const { status, raw } = await target.login();
    judgeProcess();
    return status === 303 ? null : `${target.name}: afterwards an honest login ended in ${raw}`;
  } catch (error) {
    return `${target.name}: afterwards ${error instanceof Error ? error.stack : String(error)}`;
  }
}
