// `npm run fuzz`: hostile input without end, against the module on every platform, and then courses of refreshes, logouts
// and dying processes. In the environment: FUZZ_CASES how many inputs (100,000), INTERLEAVINGS how many courses (300),
// FUZZ_SEED and FUZZ_PATH what a failure printed, FUZZ_ONLY the platform and family it named.
import fc from 'fast-check';
import globalSetup from '../support/global-setup.mjs';
import globalTeardown from '../support/global-teardown.mjs';
import { tryPlans } from '../support/interleaving/trial.js';
import { SERVER_VARIABLE } from '../support/test-server.mjs';
import { answerFamilies } from './answers.js';
import type { Family } from './family.js';
import { judgeProcess } from './invariants.js';
import { requestFamilies } from './requests.js';
import { Target, type TargetName, TARGETS } from './target.js';

const { FUZZ_CASES: cases = '100000', INTERLEAVINGS: plans = '300' } = process.env;
const { FUZZ_SEED, FUZZ_PATH: path, FUZZ_ONLY: only = '' } = process.env;
const seed = FUZZ_SEED === undefined ? Math.trunc(Math.random() * 2 ** 31) : Number(FUZZ_SEED);
/** Each case costs a few requests; beyond this a smaller example is not worth the wait. Milliseconds. */
const LIMIT = 3_600_000;
const families = [...requestFamilies, ...answerFamilies];

interface Outcome {
  readonly target: TargetName | null;
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
  // Afterwards: there, much depends on timing.
  outcomes.push(...(await interleave()));
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
    interruptAfterTimeLimit: LIMIT,
    ...(path === undefined ? {} : { path }),
  });
  const where = `${target.name}/${one.name}`;
  const { errorInstance: error } = details;
  const reason = error instanceof Error ? error.stack : String(error);
  return {
    target: target.name,
    family: one.name,
    runs: details.numRuns,
    statuses: new Map(target.statuses),
    failure: details.failed
      ? `${where}: ${reason}\n${fc.defaultReportMessage(details)}\n${again(where, details.counterexamplePath)}`
      : null,
  };
}

function again(where: string, failedPath: string | null): string {
  return `The same case again: FUZZ_SEED=${seed} FUZZ_PATH=${failedPath} FUZZ_ONLY=${JSON.stringify(where)} npm run fuzz\n`;
}

/** Courses of events around grants; they have an application and a provider of their own. */
async function interleave(): Promise<Outcome[]> {
  const family = 'interleavings';
  if (Number(plans) === 0 || !family.includes(only)) return [];
  const numRuns = path === undefined ? Number(plans) : 1;
  const tried = await tryPlans({ plans: numRuns, seed, path, limit: LIMIT, shrink: false });
  console.log(`${family}: ${tried.plans} plans, ${tried.refreshes} refreshes`);
  const failures = [tried.failure && `${family}: ${tried.failure}\n${again(family, tried.path)}`];
  try {
    judgeProcess();
  } catch (error) {
    failures.push(`${family}: afterwards ${error instanceof Error ? error.stack : String(error)}`);
  }
  return failures.map((failure) => ({ target: null, family, runs: 0, statuses: new Map(), failure }));
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
