// Complete logins per second: start, provider, callback, first guarded request, each by a new browser.
import { catalogue, variantsOf } from '../apps/catalogue.mjs';
import { Browser, logIn } from '../frame/browser.mjs';
import { cpuMs, residentMb } from '../frame/cores.mjs';
import { freePort } from '../frame/postgres.mjs';
import { startApp } from '../frame/servers.mjs';
import { median, percentile, ratio, rounded, spread, turns } from '../frame/statistics.mjs';
import { countingProxy } from '../frame/wire.mjs';
import { crowd, startOidcProvider, startStub } from './people.mjs';
import { makeStores } from './stores.mjs';

export const columns = [
  ...[
    'variant',
    'platform',
    'provider',
    'concurrency',
    'loginsPerSecond',
    'spread',
    'ofPassport',
    'ofDirect',
    'cpuOfPassport',
    'cpuOfDirect',
  ],
  ...['p50Ms', 'p99Ms', 'nodeCpuMsPerLogin', 'pgCpuMsPerLogin', 'statements', 'roundTrips', 'bytesPerLogin', 'rssMb'],
];

/** Sessions that are there when it begins. */
const SESSIONS = 1000;

async function measure({ entry, postgres, provider, seconds }) {
  const { app, start, browsers } = entry;
  const before = { node: cpuMs(app.pid), pg: cpuMs(postgres.pid, { family: true }) };
  const begun = performance.now();
  const times = await crowd({ app, start, issuer: provider.issuer, stub: provider.stub, browsers, seconds });
  const elapsed = (performance.now() - begun) / 1000;
  return {
    perSecond: times.length / elapsed,
    p50Ms: percentile(times, 0.5),
    p99Ms: percentile(times, 0.99),
    nodeCpu: (cpuMs(app.pid) - before.node) / times.length,
    pgCpu: (cpuMs(postgres.pid, { family: true }) - before.pg) / times.length,
  };
}

/** What one login asks of the database, counted on the wire, one login at a time. */
async function counted({ variant, platform, database, provider, port }) {
  const proxy = await countingProxy(database);
  const app = await startApp({ variant, platform, port, database: proxy.url, provider });
  const { login } = await catalogue[variant].load();
  const browser = new Browser();
  const one = (i) => {
    browser.forget();
    return logIn(browser, {
      origin: app.url,
      start: login.start,
      sub: `person-${i}`,
      issuer: provider.issuer,
      stub: provider.stub,
    });
  };
  for (let i = 0; i < 30; i++) await one(i);
  proxy.reset();
  const logins = 50;
  for (let i = 0; i < logins; i++) await one(i);
  const { statements, roundTrips, bytes, texts } = proxy.counts();
  browser.close();
  await app.stop();
  proxy.stop();
  return {
    statements: statements / logins,
    roundTrips: roundTrips / logins,
    bytesPerLogin: bytes / logins,
    statementList: texts.slice(-Math.round(statements / logins)).map((text) => text.slice(0, 100)),
  };
}

async function side({ context, platform, provider, ports, stores, plan }) {
  const { postgres, log, only, profile } = context;
  const entries = [];
  for (const variant of variantsOf('login', platform, only)) {
    const { login } = await catalogue[variant].load();
    const app = await startApp(
      { variant, platform, port: ports(variant, platform), database: stores.url(variant), provider },
      { profile },
    );
    const browsers = Array.from({ length: plan.concurrency }, () => new Browser());
    entries.push({ variant, app, start: login.start, browsers, rounds: [] });
    await crowd({
      app,
      start: login.start,
      issuer: provider.issuer,
      stub: provider.stub,
      browsers,
      // As many for each, so that the compiler has seen as much of a slow one as of a fast one.
      logins: plan.warmUp,
    });
  }
  // Statements that were prepared over tables nearly empty read them whole until autovacuum has counted their rows.
  for (const { variant } of entries)
    if (stores.url(variant)) await stores.query(variant, (client) => client.query('analyze'));
  for (let round = 0; round < plan.rounds; round++) {
    for (const entry of turns(entries, round))
      entry.rounds.push(await measure({ entry, postgres, provider, seconds: plan.seconds }));
    log(`  ${platform}, ${provider.name}, round ${round + 1} of ${plan.rounds}`);
  }
  const rows = [];
  for (const entry of entries) {
    const series = (field) => entry.rounds.map((one) => one[field]);
    const against = (name, field) => {
      const other = entries.find(({ variant }) => variant === name);
      return other
        ? rounded(
            ratio(
              series(field),
              other.rounds.map((one) => one[field]),
            ),
            3,
          )
        : null;
    };
    const rss = residentMb(entry.app.pid);
    entry.browsers.forEach((browser) => browser.close());
    await entry.app.stop();
    const wire = provider.stub
      ? await counted({
          variant: entry.variant,
          platform,
          database: stores.url(entry.variant) ?? stores.url('direct'),
          provider,
          port: await freePort(),
        })
      : undefined;
    rows.push({
      ...{ bench: 'login', variant: entry.variant, platform, provider: provider.name, concurrency: plan.concurrency },
      ...{ sessions: SESSIONS, rounds: plan.rounds, secondsPerRound: plan.seconds },
      ...{ loginsPerSecond: rounded(median(series('perSecond'))), spread: rounded(spread(series('perSecond')), 2) },
      ...{ ofPassport: against('passport', 'perSecond'), ofDirect: against('direct', 'perSecond') },
      ...{ cpuOfPassport: against('passport', 'nodeCpu'), cpuOfDirect: against('direct', 'nodeCpu') },
      ...{ p50Ms: rounded(median(series('p50Ms')), 3), p99Ms: rounded(median(series('p99Ms')), 3) },
      nodeCpuMsPerLogin: rounded(median(series('nodeCpu')), 3),
      pgCpuMsPerLogin: rounded(median(series('pgCpu')), 3),
      statements: rounded(wire?.statements, 3),
      roundTrips: rounded(wire?.roundTrips, 3),
      bytesPerLogin: rounded(wire?.bytesPerLogin, 4),
      rssMb: rounded(rss, 3),
      settings: catalogue[entry.variant].settings,
      statementList: wire?.statementList,
    });
  }
  return rows;
}

export async function run(context) {
  const plan = context.quick
    ? { concurrency: 16, rounds: 3, seconds: 2, warmUp: 1_200, oidc: { rounds: 3, seconds: 1, warmUp: 200 } }
    : { concurrency: 16, rounds: 24, seconds: 0.8, warmUp: 3_000, oidc: { rounds: 9, seconds: 1, warmUp: 600 } };
  const needed = context.platforms.flatMap((platform) => variantsOf('login', platform, context.only));
  const variants = [...new Set([...needed, 'direct'])];
  const stores = await makeStores({ postgres: context.postgres, variants, sessions: SESSIONS, log: context.log });
  const rows = [];

  const stub = await startStub();
  const cheap = { ...stub.provider, name: 'stub', stub: true };
  for (const platform of context.platforms) {
    const free = new Map();
    for (const variant of variants) free.set(variant, await freePort());
    rows.push(
      ...(await side({ context, platform, provider: cheap, ports: (variant) => free.get(variant), stores, plan })),
    );
  }
  await stub.stop();

  // The real provider knows its clients' addresses beforehand.
  const fixed = new Map();
  for (const variant of variants) fixed.set(variant, await freePort());
  const paths = ['/callback', '/auth/stub/callback', '/api/auth/callback/stub'];
  const uris = [...fixed.values()].flatMap((port) => paths.map((path) => `http://127.0.0.1:${port}${path}`));
  const real = await startOidcProvider(uris);
  const provider = { ...real.provider, name: 'oidc-provider', stub: false };
  rows.push(
    ...(await side({
      ...{ context, platform: 'express', provider, ports: (variant) => fixed.get(variant), stores },
      plan: { ...plan, ...plan.oidc },
    })),
  );
  await real.stop();
  await stores.drop();
  return rows;
}
