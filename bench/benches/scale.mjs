// What grows with the number of sessions: the guard, a login, listing one's devices, the cleanup, tables and indexes.
// All sizes are up at once and measured in turn, so that the growth is a ratio within one run.
import pg from 'pg';
import { catalogue } from '../apps/catalogue.mjs';
import { Browser, logIn } from '../frame/browser.mjs';
import { cookieFile, fire } from '../frame/load.mjs';
import { freePort } from '../frame/postgres.mjs';
import { startApp } from '../frame/servers.mjs';
import { median, percentile, ratio, rounded, spread } from '../frame/statistics.mjs';
import { startStub } from './people.mjs';

export const columns = [
  ...[
    'variant',
    'sessions',
    'grants',
    'rps',
    'rpsWide',
    'guardOfSmallest',
    'p50Ms',
    'p99Ms',
    'spread',
    'loginsPerSecond',
    'loginOfSmallest',
  ],
  ...[
    'loginP50Ms',
    'listingP50Ms',
    'listingOfSmallest',
    'cleanupRowsPerSecond',
    'cleanupGuardP99Ms',
    'tableMb',
    'indexMb',
    'bytesPerUser',
  ],
];

const inside = async (url, run) => {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return await run(client);
  } finally {
    await client.end();
  }
};

/**
 * Numbers of sessions all over the table, shuffled. The same count at each size, so that only the table grows and not
 * what is in use of it; and never one that ends in 7: the cleanup takes those.
 */
function spreadOver(sessions, count) {
  const endings = [1, 2, 3, 4, 5, 6, 8, 9, 10];
  const usable = Math.floor(sessions / 10) * endings.length;
  const numbers = Array.from({ length: Math.min(count, usable) }, (_, i) => {
    const at = Math.floor((i * usable) / Math.min(count, usable));
    return Math.floor(at / endings.length) * 10 + endings[at % endings.length];
  });
  return numbers.sort(() => Math.random() - 0.5);
}

/** Sizes of our tables and of each index, in bytes. */
async function sizes(url) {
  return inside(url, async (client) => {
    const { rows: tables } = await client.query(`
      select relname as name, pg_table_size(oid)::bigint::float8 as bytes, pg_indexes_size(oid)::bigint::float8 as indexes
      from pg_class where relkind = 'r' and relname like 'oauth\\_%' order by relname`);
    const { rows: indexes } = await client.query(`
      select relname as name, pg_relation_size(oid)::bigint::float8 as bytes
      from pg_class where relkind = 'i' and relname like 'oauth\\_%' and pg_relation_size(oid) > 100000 order by 2 desc`);
    const { rows } = await client.query('select count(*)::float8 as users from oauth_accounts');
    return { tables, indexes, users: rows[0].users };
  });
}

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
  const until = performance.now() + seconds * 1000;
  const begun = performance.now();
  const times = [];
  let next = 0;
  await Promise.all(
    browsers.map(async (browser) => {
      while (performance.now() < until) {
        browser.forget();
        const from = performance.now();
        await logIn(browser, { origin: app.url, start, sub: `scale-${next++ % 500}`, issuer, stub: true });
        times.push(performance.now() - from);
      }
    }),
  );
  return { perSecond: (times.length * 1000) / (performance.now() - begun), p50Ms: percentile(times, 0.5) };
}

/** Lets a tenth of the sessions (at most a million) run out, and watches the cleanup take them while requests go on. */
async function cleanup({ size, stub, quick }) {
  const many = Math.min(Math.floor(size.sessions / 10), quick ? 20_000 : 1_000_000);
  // The tail of the ctid order: not those that the load uses.
  await inside(size.url, async (client) => {
    await client.query(
      `update oauth_sessions set idle_expires_at = now() - interval '1 day', expires_at = now() - interval '1 day'
       where id in (select md5('session' || (i * 10 + 7))::uuid from generate_series(0, $1 - 1) i)`,
      [many],
    );
    await client.query('vacuum analyze oauth_sessions');
  });
  const left = () =>
    inside(
      size.url,
      async (client) =>
        (await client.query('select count(*)::float8 as n from oauth_sessions where expires_at < now()')).rows[0].n,
    );
  const app = await startApp({
    ...{ variant: 'ours', platform: 'fastify', port: await freePort(), database: size.url, provider: stub.provider },
    cleanup: { interval: 1, batchSize: 1000 },
  });
  const expired = await left();
  const begun = performance.now();
  const load = [];
  let during;
  let remaining = expired;
  while (remaining > 0 && performance.now() - begun < (quick ? 20_000 : 600_000)) {
    const result = await fire({ url: `${app.url}/bench`, list: size.list, connections: 16, seconds: 1 });
    if (result.refused > 0) throw new Error(`${result.refused} refused during the cleanup: ${app.log()}`);
    load.push(result.p99Ms);
    during = median(load);
    remaining = await left();
  }
  const seconds = (performance.now() - begun) / 1000;
  await app.stop();
  return {
    cleanupRows: expired - remaining,
    cleanupLeft: remaining,
    cleanupRowsPerSecond: (expired - remaining) / seconds,
    cleanupGuardP99Ms: during,
  };
}

export async function run(context) {
  const { postgres, log, quick } = context;
  const plan = quick
    ? { sizes: [1_000, 20_000, 200_000], rounds: 3, seconds: 1, listings: 300 }
    : { sizes: [1_000, 10_000, 100_000, 1_000_000, 10_000_000], rounds: 7, seconds: 4, listings: 2000 };
  if (context.sizes) plan.sizes = context.sizes;
  const grants = 1_000_000;
  const peer = await catalogue.ours.load();
  const stub = await startStub();
  const all = [];
  for (const sessions of plan.sizes) {
    const database = `scale_${sessions}`;
    const url = postgres.url(database);
    const begun = Date.now();
    await postgres.create(database);
    await peer.migrate(url);
    await inside(url, async (client) => {
      await peer.fill(client, sessions, grants);
      await client.query('vacuum analyze');
      await client.query('checkpoint');
    });
    log(`  ${sessions} sessions written in ${Math.round((Date.now() - begun) / 1000)} s`);
    const measured = await sizes(url);
    const cookies = peer.cookies(spreadOver(sessions, 900));
    const wide = sessions > 20_000 ? cookieFile(peer.cookies(spreadOver(sessions, 20_000))) : undefined;
    const app = await startApp(
      { variant: 'ours', platform: 'fastify', port: await freePort(), database: url, provider: stub.provider },
      { profile: context.profile },
    );
    all.push({
      sessions,
      database,
      url,
      app,
      cookies,
      list: cookieFile(cookies),
      wide,
      measured,
      guard: [],
      guardWide: [],
      login: [],
      listing: [],
    });
  }

  const browsers = Array.from({ length: 8 }, () => new Browser());
  const start = peer.login.start;
  for (const { app, list } of all) {
    await fire({ url: `${app.url}/bench`, list, connections: 64, seconds: quick ? 2 : 6 });
    await logins({ app, issuer: stub.provider.issuer, browsers, seconds: 1, start });
  }
  for (let round = 0; round < plan.rounds; round++) {
    for (const size of all) {
      const { app, list } = size;
      const result = await fire({ url: `${app.url}/bench`, list, connections: 128, seconds: plan.seconds });
      if (result.refused > 0)
        throw new Error(`${result.refused} requests refused at ${size.sessions} sessions: ${app.log()}`);
      size.guard.push({ rps: result.requests / result.seconds, p50Ms: result.p50Ms, p99Ms: result.p99Ms });
      if (size.wide) {
        const more = await fire({ url: `${app.url}/bench`, list: size.wide, connections: 128, seconds: plan.seconds });
        size.guardWide.push({ rps: more.requests / more.seconds });
      }
      size.login.push(await logins({ app, issuer: stub.provider.issuer, browsers, seconds: plan.seconds, start }));
      size.listing.push(await listing({ app, cookies: size.cookies, count: plan.listings }));
    }
    log(`  round ${round + 1} of ${plan.rounds}`);
  }
  browsers.forEach((browser) => browser.close());

  const rows = [];
  const [smallest] = all;
  const mb = (list, field) => list.reduce((sum, one) => sum + one[field], 0) / 2 ** 20;
  for (const size of all) {
    const series = (of, kind, field) => of[kind].map((one) => (field ? one[field] : one));
    await size.app.stop();
    const cleaned = await cleanup({ size, stub, quick });
    log(`  cleanup at ${size.sessions}: ${cleaned.cleanupRows} rows`);
    const { tables, indexes, users } = size.measured;
    rows.push({
      ...{
        bench: 'scale',
        variant: 'ours',
        platform: 'fastify',
        sessions: size.sessions,
        concurrency: 128,
        grants: Math.min(grants, users),
        users,
      },
      rps: rounded(median(series(size, 'guard', 'rps'))),
      spread: rounded(spread(series(size, 'guard', 'rps')), 2),
      guardOfSmallest: rounded(ratio(series(size, 'guard', 'rps'), series(smallest, 'guard', 'rps')), 3),
      rpsWide: rounded(median(series(size, 'guardWide', 'rps'))),
      p50Ms: rounded(median(series(size, 'guard', 'p50Ms')), 3),
      p99Ms: rounded(median(series(size, 'guard', 'p99Ms')), 3),
      loginsPerSecond: rounded(median(series(size, 'login', 'perSecond'))),
      loginOfSmallest: rounded(ratio(series(size, 'login', 'perSecond'), series(smallest, 'login', 'perSecond')), 3),
      loginP50Ms: rounded(median(series(size, 'login', 'p50Ms')), 3),
      listingP50Ms: rounded(median(series(size, 'listing')), 3),
      listingOfSmallest: rounded(ratio(series(size, 'listing'), series(smallest, 'listing')), 3),
      cleanupRows: cleaned.cleanupRows,
      cleanupLeft: cleaned.cleanupLeft,
      cleanupRowsPerSecond: rounded(cleaned.cleanupRowsPerSecond, 3),
      cleanupGuardP99Ms: rounded(cleaned.cleanupGuardP99Ms, 3),
      tableMb: rounded(mb(tables, 'bytes'), 4),
      indexMb: rounded(mb(tables, 'indexes'), 4),
      bytesPerUser: rounded(((mb(tables, 'bytes') + mb(tables, 'indexes')) * 2 ** 20) / users, 4),
      tables: Object.fromEntries(tables.map(({ name, bytes, indexes: own }) => [name, { bytes, indexes: own }])),
      indexes: Object.fromEntries(indexes.map(({ name, bytes }) => [name, bytes])),
      settings: catalogue.ours.settings,
    });
    await postgres.drop(size.database);
  }
  await stub.stop();
  return rows;
}
