// What grows with the number of sessions: the guard, a login, listing one's devices, the cleanup, tables and indexes.
// All sizes are up at once and measured in turn, so that the growth is a ratio within one run.
import { catalogue } from '../apps/catalogue.mjs';
import { usersFor } from '../apps/seeds.mjs';
import { Browser } from '../frame/browser.mjs';
import { cpuMs, residentMb } from '../frame/cores.mjs';
import { cookieFile, fire } from '../frame/load.mjs';
import { freePort } from '../frame/postgres.mjs';
import { startApp } from '../frame/servers.mjs';
import { median, percentile, ratio, rounded, spread, turns } from '../frame/statistics.mjs';
import { cleanup } from './cleanup.mjs';
import { crowd, startStub } from './people.mjs';
import { inside, sizesOf, spreadOver } from './tables.mjs';

export const columns = [
  ...['variant', 'sessions', 'users', 'grants', 'rps', 'rpsWide', 'guardOfSmallest', 'p50Ms', 'p99Ms', 'spread'],
  ...['nodeCpuMsPerRequest', 'pgCpuMsPerRequest', 'rssMb', 'loginsPerSecond', 'loginOfSmallest', 'loginP50Ms'],
  ...['listingP50Ms', 'listingOfSmallest', 'cleanupRowsPerSecond', 'cleanupGuardP99Ms', 'tableMb', 'indexMb'],
  ...['bytesPerUser', 'filledInSeconds'],
];

/** Grants are a million at most, as the largest size would have five. */
const GRANTS = 1_000_000;

const plans = {
  quick: {
    sizes: [1_000, 10_000, 100_000],
    ...{ rounds: 3, seconds: 1, warmUp: 1, listings: 100, expired: 10_000, patience: 15 },
  },
  full: {
    sizes: [1_000, 10_000, 100_000, 1_000_000, 10_000_000],
    ...{ rounds: 9, seconds: 2, warmUp: 3, listings: 200, expired: 100_000, patience: 60 },
  },
};

/** Milliseconds for one user's own list of sessions, one request after the other. */
async function listing({ app, cookies, count }) {
  const browser = new Browser();
  const times = [];
  for (let i = 0; i < count; i++) {
    const begun = performance.now();
    const answer = await browser.request(`${app.url}/auth/sessions`, {
      headers: { accept: 'application/json', 'sec-fetch-mode': 'cors', cookie: cookies[i % cookies.length] },
    });
    times.push(performance.now() - begun);
    if (answer.status !== 200) throw new Error(`listing answered ${answer.status}: ${answer.body.slice(0, 200)}`);
  }
  browser.close();
  return median(times);
}

async function logins({ app, issuer, browsers, seconds, start }) {
  const begun = performance.now();
  const times = await crowd({ app, start, issuer, stub: true, browsers, seconds, people: 500, prefix: 'scale' });
  return { perSecond: (times.length * 1000) / (performance.now() - begun), p50Ms: percentile(times, 0.5) };
}

/** A database with so many sessions, and an application on it. */
async function prepare({ context, sessions, peer, stub }) {
  const { postgres, log, profile } = context;
  const database = `scale_${sessions}`;
  const url = postgres.url(database);
  const begun = performance.now();
  await postgres.everyCore(async () => {
    await postgres.create(database);
    await peer.migrate(url);
    await inside(url, async (client) => {
      await peer.fill(client, sessions, GRANTS);
      // A vacuum of its own accord would fall into one size's turn and not into another's.
      for (const table of ['accounts', 'grants', 'access_tokens', 'sessions'])
        await client.query(`alter table oauth_${table} set (autovacuum_enabled = off)`);
      await client.query('analyze');
      await client.query('checkpoint');
    });
  });
  const filledInSeconds = (performance.now() - begun) / 1000;
  log(`  ${sessions} sessions written in ${Math.round(filledInSeconds)} s`);
  const cookies = peer.cookies(spreadOver(sessions, 900));
  const app = await startApp(
    { variant: 'ours', platform: 'fastify', port: await freePort(), database: url, provider: stub.provider },
    { profile },
  );
  return {
    ...{ sessions, database, url, app, cookies, filledInSeconds, list: cookieFile(cookies) },
    wide: sessions > 20_000 ? cookieFile(peer.cookies(spreadOver(sessions, 20_000))) : undefined,
    measured: await inside(url, sizesOf),
    ...{ guard: [], guardWide: [], login: [], listing: [] },
  };
}

/** One size's turn in one round. */
async function turn({ size, postgres, stub, browsers, start, plan }) {
  const { app, list, wide } = size;
  const before = { node: cpuMs(app.pid), pg: cpuMs(postgres.pid, { family: true }) };
  const result = await fire({ url: `${app.url}/bench`, list, connections: 128, seconds: plan.seconds });
  if (result.refused > 0)
    throw new Error(`${result.refused} requests refused at ${size.sessions} sessions: ${app.log()}`);
  size.guard.push({
    ...{ rps: result.requests / result.seconds, p50Ms: result.p50Ms, p99Ms: result.p99Ms },
    nodeCpu: (cpuMs(app.pid) - before.node) / result.requests,
    pgCpu: (cpuMs(postgres.pid, { family: true }) - before.pg) / result.requests,
  });
  if (wide) {
    const more = await fire({ url: `${app.url}/bench`, list: wide, connections: 128, seconds: plan.seconds });
    size.guardWide.push(more.requests / more.seconds);
  }
  size.login.push(await logins({ app, issuer: stub.provider.issuer, browsers, seconds: plan.seconds, start }));
  size.listing.push(await listing({ app, cookies: size.cookies, count: plan.listings }));
}

function rowOf({ size, smallest, cleaned, rss, plan }) {
  const series = (of, kind, field) => of[kind].map((one) => (field ? one[field] : one));
  const middle = (kind, field, digits = 3) => rounded(median(series(size, kind, field)), digits);
  const growth = (kind, field) => rounded(ratio(series(size, kind, field), series(smallest, kind, field)), 3);
  const { tables, indexes } = size.measured;
  const sum = (field) => tables.reduce((total, table) => total + table[field], 0);
  const users = usersFor(size.sessions);
  return {
    ...{ bench: 'scale', variant: 'ours', platform: 'fastify', sessions: size.sessions, concurrency: 128 },
    ...{ users, grants: Math.min(GRANTS, users), rounds: plan.rounds, secondsPerRound: plan.seconds },
    ...{ rps: middle('guard', 'rps', 4), spread: rounded(spread(series(size, 'guard', 'rps')), 2) },
    ...{ guardOfSmallest: growth('guard', 'rps'), rpsWide: rounded(median(size.guardWide)) },
    ...{ p50Ms: middle('guard', 'p50Ms'), p99Ms: middle('guard', 'p99Ms') },
    ...{ nodeCpuMsPerRequest: middle('guard', 'nodeCpu'), pgCpuMsPerRequest: middle('guard', 'pgCpu') },
    ...{ rssMb: rounded(rss, 3), loginsPerSecond: middle('login', 'perSecond', 4) },
    ...{ loginOfSmallest: growth('login', 'perSecond'), loginP50Ms: middle('login', 'p50Ms') },
    ...{ listingP50Ms: middle('listing'), listingOfSmallest: growth('listing') },
    ...{ cleanupRows: cleaned.cleanupRows, cleanupLeft: cleaned.cleanupLeft },
    cleanupRowsPerSecond: rounded(cleaned.cleanupRowsPerSecond, 3),
    cleanupGuardP99Ms: rounded(cleaned.cleanupGuardP99Ms, 3),
    ...{ tableMb: rounded(sum('bytes') / 2 ** 20), indexMb: rounded(sum('indexes') / 2 ** 20) },
    bytesPerUser: rounded((sum('bytes') + sum('indexes')) / users),
    filledInSeconds: rounded(size.filledInSeconds, 3),
    tables: Object.fromEntries(
      tables.map(({ name, bytes, indexes: own, rows }) => [name, { bytes, indexes: own, rows }]),
    ),
    indexes: Object.fromEntries(indexes.map(({ name, bytes }) => [name, bytes])),
    settings: catalogue.ours.settings,
  };
}

export async function run(context) {
  const { postgres, log } = context;
  const plan = context.quick ? plans.quick : plans.full;
  const peer = await catalogue.ours.load();
  const { start } = peer.login;
  const stub = await startStub();
  const all = [];
  for (const sessions of context.sizes ?? plan.sizes) all.push(await prepare({ context, sessions, peer, stub }));

  const browsers = Array.from({ length: 8 }, () => new Browser());
  for (const { app, list } of all) {
    await fire({ url: `${app.url}/bench`, list, connections: 64, seconds: plan.warmUp });
    await logins({ app, issuer: stub.provider.issuer, browsers, seconds: 1, start });
  }
  for (let round = 0; round < plan.rounds; round++) {
    for (const size of turns(all, round)) await turn({ size, postgres, stub, browsers, start, plan });
    log(`  round ${round + 1} of ${plan.rounds}`);
  }
  browsers.forEach((browser) => browser.close());

  const rows = [];
  for (const size of all) {
    const rss = residentMb(size.app.pid);
    await size.app.stop();
    const many = Math.min(Math.floor(size.sessions / 10), plan.expired);
    const cleaned = await cleanup({ size, stub, many, patience: plan.patience });
    log(`  cleanup at ${size.sessions}: ${cleaned.cleanupRows} rows`);
    rows.push(rowOf({ size, smallest: all[0], cleaned, rss, plan }));
  }
  for (const { database } of all) await postgres.drop(database);
  await stub.stop();
  return rows;
}
