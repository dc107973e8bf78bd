// One million expired sessions are removed while guarded requests go on: what that does to the slowest hundredth of them.
// The same application answers before, meanwhile and after; without the cleanup in the windows that it is compared with.
import { catalogue } from '../apps/catalogue.mjs';
import { cookieFile, fire } from '../frame/load.mjs';
import { freePort } from '../frame/postgres.mjs';
import { startApp } from '../frame/servers.mjs';
import { median, rounded } from '../frame/statistics.mjs';
import { startStub } from './people.mjs';
import { inside } from './tables.mjs';

export const columns = [
  ...['variant', 'platform', 'expired', 'live', 'concurrency', 'seconds', 'rowsPerSecond', 'left'],
  ...['p99WithoutMs', 'p99DuringMs', 'p99Worst', 'ratio', 'p50WithoutMs', 'p50DuringMs', 'rpsWithout', 'rpsDuring'],
];

const plans = {
  quick: { sessions: 100_000, windows: 5, warmUp: 2, patience: 60 },
  full: { sessions: 2_000_000, windows: 15, warmUp: 3, patience: 400 },
};
const GRANTS = 100_000;

/** One row per platform. */
export async function run({ postgres, log, quick, platforms }) {
  const plan = quick ? plans.quick : plans.full;
  const peer = await catalogue.ours.load();
  const stub = await startStub();
  const rows = [];
  for (const platform of platforms) rows.push(await measure({ postgres, log, plan, peer, stub, platform }));
  await stub.stop();
  return rows;
}

async function measure({ postgres, log, plan, peer, stub, platform }) {
  const { sessions, windows } = plan;
  const database = `expiry_${platform}`;
  const url = postgres.url(database);
  await postgres.everyCore(async () => {
    await postgres.create(database);
    await peer.migrate(url);
    await inside(url, async (client) => {
      await peer.fill(client, sessions, GRANTS);
      // Every second one ran out, at another time each, as sessions do.
      await client.query(
        `update oauth_sessions s set idle_expires_at = now() - make_interval(secs => 3600 + n), expires_at = now() - make_interval(secs => 3600 + n)
         from (select md5('session' || 2 * i)::uuid as id, i as n from generate_series(1, $1::integer) i) gone where s.id = gone.id`,
        [sessions / 2],
      );
      await client.query('vacuum analyze');
      await client.query('checkpoint');
    });
  });
  log(`  ${sessions / 2} expired sessions among ${sessions} (${platform})`);
  const live = Array.from({ length: 900 }, (_, i) => 2 * Math.floor((i * sessions) / 1800) + 1);
  const list = cookieFile(peer.cookies(live.sort(() => Math.random() - 0.5)));
  const start = async (cleanup) =>
    startApp({ variant: 'ours', platform, port: await freePort(), database: url, provider: stub.provider, cleanup });
  const left = () =>
    inside(url, async (client) => {
      const { rows } = await client.query('select count(*)::float8 as n from oauth_sessions where expires_at < now()');
      return rows[0].n;
    });
  const second = async (app) => {
    const result = await fire({ url: `${app.url}/bench`, list, connections: 16, seconds: 1 });
    if (result.refused > 0 || result.failed > 0) throw new Error(`${result.refused} refused: ${app.log()}`);
    return { p99: result.p99Ms, p50: result.p50Ms, rps: result.requests / result.seconds };
  };
  const quiet = async () => {
    const app = await start(false);
    for (let i = 0; i < plan.warmUp; i++) await second(app);
    const seen = [];
    for (let i = 0; i < windows; i++) seen.push(await second(app));
    await app.stop();
    return seen;
  };

  const without = await quiet();
  const app = await start({ interval: plan.warmUp, batchSize: 1000 });
  for (let i = 1; i < plan.warmUp; i++) await second(app);
  const during = [];
  const before = await left();
  const begun = performance.now();
  let remaining = before;
  while (remaining > 0 && performance.now() - begun < plan.patience * 1000) {
    for (let i = 0; i < 5; i++) during.push(await second(app));
    remaining = await left();
  }
  const seconds = (performance.now() - begun) / 1000;
  await app.stop();
  // The machine may have become slower or faster meanwhile: both sides count.
  without.push(...(await quiet()));
  await postgres.drop(database);
  const middle = (list_, field) => median(list_.map((one) => one[field]));
  return {
    ...{ bench: 'expiry', variant: 'ours', platform, expired: before, live: sessions / 2, concurrency: 16 },
    ...{ seconds: rounded(seconds, 3), rowsPerSecond: rounded((before - remaining) / seconds, 4), left: remaining },
    p99WithoutMs: rounded(middle(without, 'p99'), 3),
    p99DuringMs: rounded(middle(during, 'p99'), 3),
    p99Worst: rounded(Math.max(...during.map(({ p99 }) => p99)), 3),
    ratio: rounded(middle(during, 'p99') / middle(without, 'p99'), 3),
    ...{ p50WithoutMs: rounded(middle(without, 'p50'), 3), p50DuringMs: rounded(middle(during, 'p50'), 3) },
    ...{ rpsWithout: rounded(middle(without, 'rps'), 4), rpsDuring: rounded(middle(during, 'rps'), 4) },
    windows: { without: without.map(({ p99 }) => p99), during: during.map(({ p99 }) => p99) },
  };
}
