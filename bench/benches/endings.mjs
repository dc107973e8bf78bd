// What the triggers of the coherent cache cost where sessions end, and how soon an ended one is refused. Every NOTIFY
// takes one lock of the whole cluster at commit, so this is the bound that more cores do not lift.
import pg from 'pg';
import { catalogue } from '../apps/catalogue.mjs';
import { Browser } from '../frame/browser.mjs';
import { freePort } from '../frame/postgres.mjs';
import { startApp } from '../frame/servers.mjs';
import { median, percentile, ratio, rounded, spread } from '../frame/statistics.mjs';
import { inside } from './tables.mjs';

const CLIENTS = 16;

const connected = async (url) => {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  return client;
};

/** Sessions deleted per second, one in each transaction, by sixteen clients while `listeners` listen. */
async function endings({ url, durable, listeners, seconds, numbers }) {
  const clients = await Promise.all(Array.from({ length: CLIENTS }, () => connected(url)));
  const ears = await Promise.all(Array.from({ length: listeners }, () => connected(url)));
  let heard = 0;
  for (const ear of ears) {
    ear.on('notification', () => heard++);
    await ear.query('listen oauth_sessions');
  }
  for (const client of clients) await client.query(`set synchronous_commit = ${durable ? 'on' : 'off'}`);
  const text = `delete from oauth_sessions where id = md5('session' || $1::integer)::uuid`;
  const begun = performance.now();
  let done = 0;
  await Promise.all(
    clients.map(async (client) => {
      while (performance.now() - begun < seconds * 1000 && numbers.next < numbers.last) {
        const { rowCount } = await client.query({ name: 'end', text, values: [numbers.next++] });
        if (rowCount !== 1) throw new Error('no session was there to end');
        done++;
      }
    }),
  );
  const perSecond = (done * 1000) / (performance.now() - begun);
  for (let wait = 0; heard < done * listeners && wait < 100; wait++) await new Promise((go) => setTimeout(go, 50));
  await Promise.all([...clients, ...ears].map((client) => client.end()));
  return { perSecond, done, heard };
}

/** Rows: with and without the triggers, none to fifty listening processes, waiting for the disk and not. */
export async function endingRows({ postgres, stores, sessions, rounds, seconds }) {
  // The memory rows use the first ones.
  const numbers = { next: Math.floor(sessions / 8), last: sessions };
  const kinds = [true, false].flatMap((durable) => [
    { variant: 'ours', durable, listeners: 0 },
    ...[0, 1, 50].map((listeners) => ({ variant: 'ours-cached', durable, listeners })),
  ]);
  const series = kinds.map(() => []);
  await postgres.everyCore(async () => {
    for (let round = 0; round < rounds; round++)
      for (const [at, { variant, durable, listeners }] of kinds.entries())
        series[at].push(await endings({ url: stores.url(variant), durable, listeners, seconds, numbers }));
  });
  return kinds.map(({ variant, durable, listeners }, at) => {
    const rates = series[at].map(({ perSecond }) => perSecond);
    const plain = series[kinds.findIndex((kind) => kind.variant === 'ours' && kind.durable === durable)];
    const sum = (field) => series[at].reduce((total, one) => total + one[field], 0);
    return {
      ...{ bench: 'capacity', measure: durable ? 'endings, synced' : 'endings', variant, sessions, listeners },
      ...{ concurrency: CLIENTS, rounds, secondsPerRound: seconds },
      ...{ endingsPerSecond: rounded(median(rates)), spread: rounded(spread(rates), 2) },
      ofNoTriggers: rounded(
        ratio(
          rates,
          plain.map(({ perSecond }) => perSecond),
        ),
        3,
      ),
      heard: listeners === 0 ? null : rounded(sum('heard') / (sum('done') * listeners), 4),
      settings: `synchronous_commit ${durable ? 'on' : 'off'}; ${variant === 'ours' ? 'no triggers' : 'the triggers of the cache'}`,
    };
  });
}

/** How long after its row was deleted elsewhere a cached session is still let in: asked without a pause until refused. */
export async function revocationRow({ stores, stub, count }) {
  const variant = 'ours-cached';
  const app = await startApp({
    ...{ variant, platform: 'fastify', port: await freePort(), provider: stub.provider, database: stores.url(variant) },
  });
  const { cookies, revoke } = await catalogue[variant].load();
  const browser = new Browser();
  const ask = async (cookie) =>
    (await browser.request(`${app.url}/bench`, { headers: { cookie, 'sec-fetch-mode': 'cors' } })).status;
  const times = await inside(stores.url(variant), async (client) => {
    const found = [];
    for (let number = 1; number <= count; number++) {
      const [cookie] = cookies([number]);
      for (let i = 0; i < 2; i++) if ((await ask(cookie)) !== 200) throw new Error('a live session was refused');
      await revoke(client, number);
      const gone = performance.now();
      while ((await ask(cookie)) === 200) if (performance.now() - gone > 10_000) throw new Error('never refused');
      found.push(performance.now() - gone);
    }
    return found;
  });
  browser.close();
  await app.stop();
  return {
    ...{ bench: 'capacity', measure: 'revocation', variant, platform: 'fastify', concurrency: 1, rounds: count },
    ...{ p50Ms: rounded(median(times), 3), p99Ms: rounded(percentile(times, 0.99), 3) },
    settings: 'from the commit elsewhere to the first answer that refuses',
  };
}
