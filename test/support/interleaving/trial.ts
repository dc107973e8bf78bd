// Tries random courses of events until a rule breaks: for the test, and for `npm run fuzz`.
import fc from 'fast-check';
import { anyPlan, type Step } from './plan.js';
import { Rules } from './rules.js';
import { World } from './world.js';

/** What to try. */
export interface Trial {
  readonly plans: number;
  readonly seed: number;
  /** Begins with the plan that a failure named. */
  readonly path?: string | undefined;
  /** Milliseconds: a slow machine tries fewer plans. */
  readonly limit: number;
  /** Looks for a smaller plan that fails as well. Much depends on timing: that takes time, and may find none. */
  readonly shrink: boolean;
}

/** What came of it. */
export interface Tried {
  readonly plans: number;
  /** Refreshes that reached the provider. */
  readonly refreshes: number;
  /** The broken rules with the plan, its seed and its path; null when every rule held. */
  readonly failure: string | null;
  /** The path of the failure. */
  readonly path: string | null;
}

/** Carries out plans in a world of their own. */
export async function tryPlans({ plans, seed, path, limit, shrink }: Trial): Promise<Tried> {
  const world = await World.create();
  const tried = { plans: 0, refreshes: 0 };
  try {
    const property = fc.asyncProperty(anyPlan, async (plan) => {
      const broken = await carryOut(world, plan);
      tried.plans += 1;
      tried.refreshes += world.provider.requestsTo('refresh').length;
      if (broken.length > 0) throw new Error(broken.join('\n'));
    });
    const details = await fc.check(property, {
      ...{ numRuns: plans, seed, interruptAfterTimeLimit: limit, endOnFailure: !shrink, verbose: 1 },
      ...(path === undefined ? {} : { path }),
    });
    const { failed, errorInstance: error, counterexamplePath } = details;
    const reason = error instanceof Error ? error.stack : String(error);
    const failure = failed ? `${reason}\n${fc.defaultReportMessage(details)}` : null;
    return { ...tried, failure, path: counterexamplePath };
  } finally {
    await world.close();
  }
}

async function carryOut(world: World, plan: readonly Step[]): Promise<string[]> {
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
