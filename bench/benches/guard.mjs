// Requests per second on one guarded route, for every variant side by side: which guard costs what.
import { catalogue, variantsOf } from '../apps/catalogue.mjs';
import { cpuMs, residentMb } from '../frame/cores.mjs';
import { cookieFile, fire } from '../frame/load.mjs';
import { freePort } from '../frame/postgres.mjs';
import { startApp } from '../frame/servers.mjs';
import { median, ratio, rounded, spread, turns } from '../frame/statistics.mjs';
import { cookiesByLogin, startStub } from './people.mjs';
import { makeStores } from './stores.mjs';

export const columns = [
  ...['variant', 'platform', 'sessions', 'concurrency', 'rps', 'spread', 'ofBare', 'ofEmptyGuard', 'ofSelectGuard'],
  ...['p50Ms', 'p99Ms', 'nodeCpuMsPerRequest', 'pgCpuMsPerRequest', 'rssMb', 'revokedSessionIs'],
];

/**
 * Whose turn comes first. On a shared machine it is neighbours in time that differ least: what is held against another
 * stands beside it. What is not named follows.
 */
const order = ['bare', 'ours-cached', 'empty', 'ours', 'select', 'lru'];
const place = (variant) => (order.includes(variant) ? order.indexOf(variant) : order.length);

/** Sessions at the end of the numbering that the load never uses: one is deleted for each variant, to see it refused. */
const spare = 50;
let deleted = 0;

/** The numbers of sessions in use: at most `active`, spread evenly over all, in shuffled order. */
function drawn(sessions, active) {
  const usable = sessions > 2 * spare ? sessions - spare : sessions;
  const count = Math.min(usable, active);
  const numbers = Array.from({ length: count }, (_, i) => 1 + Math.floor((i * usable) / count));
  for (let i = count - 1; i > 0; i--) {
    const j = Math.floor(Math.random() * (i + 1));
    [numbers[i], numbers[j]] = [numbers[j], numbers[i]];
  }
  return numbers;
}

const status = async (url, cookie) =>
  (await fetch(`${url}/bench`, { headers: { cookie } }).then((r) => (r.body?.cancel(), r))).status;

/** Refuses to measure a variant that lets anybody in, or nobody. */
async function checked({ variant, app, cookie }) {
  const open = variant === 'bare' || variant === 'empty';
  const known = await status(app.url, cookie);
  if (known !== 200) throw new Error(`${variant} answered ${known} to a known session: ${app.log()}`);
  if (open) return;
  const stranger = await status(app.url, 'x=y');
  if (stranger === 200) throw new Error(`${variant} let a stranger in`);
}

/** Deletes the row of a session that was just used, and asks again: is it refused at once? */
async function revoked({ variant, app, stores, sessions }) {
  const { revoke, cookies } = await catalogue[variant].load();
  if (variant === 'bare' || variant === 'empty' || sessions <= 2 * spare) return undefined;
  if (!revoke) return 'not revocable';
  const number = sessions - (deleted++ % spare);
  const [cookie] = await cookies([number], { variant, database: stores.url(variant) });
  for (let i = 0; i < 2; i++) await status(app.url, cookie);
  await stores.query(variant, (client) => revoke(client, number));
  await new Promise((resolve) => setTimeout(resolve, 100));
  return (await status(app.url, cookie)) === 200 ? 'still let in' : 'refused';
}

async function cookiesFor({ variant, app, stores, numbers, stub }) {
  const { stateless } = catalogue[variant];
  const { cookies } = await catalogue[variant].load();
  if (!cookies) return cookiesByLogin({ variant, app, issuer: stub.provider.issuer, count: stateless });
  return cookies(stateless ? numbers.slice(0, stateless) : numbers, { variant, database: stores.url(variant) });
}

async function measure({ entry, postgres, connections, seconds }) {
  const before = { node: cpuMs(entry.app.pid), pg: cpuMs(postgres.pid, { family: true }) };
  const result = await fire({ url: `${entry.app.url}/bench`, list: entry.list, connections, seconds });
  if (result.refused > 0 || result.failed > result.requests / 1000) {
    throw new Error(
      `${entry.variant}: of ${result.requests} requests ${result.refused} were refused and ${result.failed} broke off: ${entry.app.log()}`,
    );
  }
  return {
    rps: result.requests / result.seconds,
    p50Ms: result.p50Ms,
    p99Ms: result.p99Ms,
    nodeCpu: (cpuMs(entry.app.pid) - before.node) / result.requests,
    pgCpu: (cpuMs(postgres.pid, { family: true }) - before.pg) / result.requests,
  };
}

/** All variants of one platform at one size: started together, measured in turn, round by round. */
async function side({ context, platform, size, stores, stub, plan }) {
  const { postgres, log, only, profile } = context;
  const { sessions, cells } = size;
  const variants = variantsOf('guard', platform, only)
    .filter((name) => !size.few || !catalogue[name].stateless)
    .sort((one, other) => place(one) - place(other));
  const numbers = drawn(sessions, plan.active);
  const apps = await Promise.all(
    variants.map(async (variant) =>
      startApp(
        { variant, platform, port: await freePort(), database: stores.url(variant), provider: stub.provider },
        { profile },
      ),
    ),
  );
  const entries = [];
  for (const [at, variant] of variants.entries()) {
    const app = apps[at];
    const cookies = await cookiesFor({ variant, app, stores, numbers, stub });
    await checked({ variant, app, cookie: cookies[0] });
    entries.push({ variant, app, cookies, list: cookieFile(cookies), rounds: new Map() });
  }

  for (const { connections, rounds, seconds } of cells) {
    // Of its own kind: alone, a request goes other ways than among many, and the compiler has to have seen them.
    for (const { app, list } of entries)
      await fire({ url: `${app.url}/bench`, list, connections, seconds: size.few ? 1 : plan.warmUp });
    for (let round = 0; round < rounds; round++) {
      for (const entry of turns(entries, round)) {
        const series = entry.rounds.get(connections) ?? [];
        // While the others had their turns, every session became due to be extended: in steady use that is once in
        // thousands of requests, not once in six.
        if (plan.leadIn && connections > 1)
          await fire({ url: `${entry.app.url}/bench`, list: entry.list, connections, seconds: plan.leadIn });
        series.push(await measure({ entry, postgres, connections, seconds }));
        entry.rounds.set(connections, series);
      }
      if (round % 10 === 9 || round + 1 === rounds)
        log(`  ${platform}, ${sessions} sessions, ${connections} connections, round ${round + 1} of ${rounds}`);
    }
  }

  const rows = [];
  const of = (name, connections, field) =>
    entries
      .find(({ variant }) => variant === name)
      ?.rounds.get(connections)
      .map((one) => one[field]);
  for (const entry of entries) {
    const rss = residentMb(entry.app.pid);
    const answer = await revoked({ variant: entry.variant, app: entry.app, stores, sessions });
    for (const { connections, rounds, seconds } of cells) {
      const series = (field) => of(entry.variant, connections, field);
      const against = (name) => {
        const reference = of(name, connections, 'rps');
        return reference ? rounded(ratio(series('rps'), reference), 3) : null;
      };
      rows.push({
        ...{ bench: 'guard', variant: entry.variant, platform, sessions, concurrency: connections },
        ...{ rps: rounded(median(series('rps'))), spread: rounded(spread(series('rps')), 2) },
        ...{ ofBare: against('bare'), ofEmptyGuard: against('empty'), ofSelectGuard: against('select') },
        ...{ p50Ms: rounded(median(series('p50Ms')), 3), p99Ms: rounded(median(series('p99Ms')), 3) },
        nodeCpuMsPerRequest: rounded(median(series('nodeCpu')), 3),
        pgCpuMsPerRequest: rounded(median(series('pgCpu')), 3),
        rssMb: rounded(rss, 3),
        ...{ rounds, secondsPerRound: seconds, revokedSessionIs: answer ?? null },
        settings: catalogue[entry.variant].settings,
      });
    }
  }
  for (const { app } of entries) await app.stop();
  return rows;
}

/** Leaves out, and names, what the build under test does not have yet. */
async function withAvailable(context) {
  const absent = [];
  for (const [variant, { load, benches }] of Object.entries(catalogue)) {
    if (benches.includes('guard') && variant.startsWith('ours') && !(await (await load()).available(variant)))
      absent.push(variant);
  }
  if (absent.length === 0) return context;
  context.log(`  left out, not in this build: ${absent.join(', ')}`);
  return { ...context, only: (context.only ?? Object.keys(catalogue)).filter((name) => !absent.includes(name)) };
}

/**
 * Samples of `seconds` at so many connections: many short ones rather than few long ones, for the same reason. The first
 * few hundred sessions do for one connection.
 */
const cell = (connections, rounds, seconds) => ({ connections, rounds, seconds });
const quickCells = [cell(1, 15, 0.3), cell(128, 7, 0.5)];
const fullCells = [cell(1, 60, 0.3), cell(128, 20, 0.6)];
/** The other sizes: one concurrency, and without the peers that have no sessions on the server (`few`). */
const fewCells = [cell(128, 16, 0.6)];

const plans = {
  quick: { warmUp: 1, leadIn: 0, active: 1_000, sizes: [{ sessions: 100_000, cells: quickCells }] },
  full: {
    ...{ warmUp: 2, leadIn: 0.6, active: 5_000 },
    sizes: [
      { sessions: 1, cells: fewCells, few: true },
      { sessions: 1_000, cells: fewCells, few: true },
      { sessions: 100_000, cells: fullCells },
      { sessions: 1_000_000, cells: fewCells, few: true },
    ],
  },
};

export async function run(given) {
  const context = await withAvailable(given);
  const plan = context.quick ? plans.quick : plans.full;
  const cells = context.quick ? quickCells : fullCells;
  const sizes = context.sizes?.map((sessions) => ({ sessions, cells })) ?? plan.sizes;
  const rows = [];
  const stub = await startStub();
  for (const size of sizes) {
    const variants = ['express', 'fastify'].flatMap((platform) => variantsOf('guard', platform, context.only));
    const stores = await makeStores({
      postgres: context.postgres,
      variants: [...new Set(variants)],
      sessions: size.sessions,
      log: context.log,
    });
    for (const platform of context.platforms)
      rows.push(...(await side({ context, platform, size, stores, stub, plan })));
    await stores.drop();
  }
  await stub.stop();
  return rows;
}
