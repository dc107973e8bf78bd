// Refreshes per second of many different users, each due: what one process and its database get done when nothing is
// shared. (How many share one refresh is the refresh bench.)
import { catalogue } from '../apps/catalogue.mjs';
import { Browser } from '../frame/browser.mjs';
import { cpuMs, residentMb } from '../frame/cores.mjs';
import { freePort } from '../frame/postgres.mjs';
import { startApp } from '../frame/servers.mjs';
import { median, percentile, rounded, spread } from '../frame/statistics.mjs';
import { countingProxy } from '../frame/wire.mjs';
import { cookiesByLogin, startStub } from './people.mjs';

const CONCURRENCY = 16;

/** Every user asks for a token once. */
async function everybody(url, cookies, concurrency) {
  const times = [];
  let next = 0;
  await Promise.all(
    Array.from({ length: concurrency }, async () => {
      const browser = new Browser();
      while (next < cookies.length) {
        const cookie = cookies[next++];
        const begun = performance.now();
        const answer = await browser.request(`${url}/token`, {
          headers: { accept: 'application/json', 'sec-fetch-mode': 'cors', cookie },
        });
        if (answer.status !== 200) throw new Error(`no token: ${answer.status} ${answer.body.slice(0, 200)}`);
        times.push(performance.now() - begun);
      }
      browser.close();
    }),
  );
  return times;
}

/** Tokens live a second; the note of the last refresh is made old, so that the floor between refreshes is past. */
async function madeDue(stores, variant) {
  const { expire } = await catalogue[variant].load();
  await new Promise((resolve) => setTimeout(resolve, 1100));
  await stores.query(variant, expire);
}

export async function refreshRow({ postgres, stores, people, rounds }) {
  const variant = 'ours';
  const stub = await startStub({ firstSeconds: 1, accessTokenSeconds: 1 });
  const port = await freePort();
  const options = { variant, platform: 'fastify', port, provider: stub.provider, database: stores.url(variant) };
  const app = await startApp(options);
  const cookies = await cookiesByLogin({ variant, app, issuer: stub.provider.issuer, count: people, prefix: 'due' });
  const samples = [];
  for (let round = 0; round < rounds; round++) {
    await madeDue(stores, variant);
    const before = {
      node: cpuMs(app.pid),
      pg: cpuMs(postgres.pid, { family: true }),
      calls: await stub.ask({ counts: 1 }),
    };
    const begun = performance.now();
    const times = await everybody(app.url, cookies, CONCURRENCY);
    const elapsed = (performance.now() - begun) / 1000;
    const { refreshes } = await stub.ask({ counts: 1 });
    if (refreshes - before.calls.refreshes !== people)
      throw new Error(`${people} people, ${refreshes - before.calls.refreshes} refreshes`);
    samples.push({
      ...{ perSecond: people / elapsed, p50Ms: percentile(times, 0.5), p99Ms: percentile(times, 0.99) },
      nodeCpu: (cpuMs(app.pid) - before.node) / people,
      pgCpu: (cpuMs(postgres.pid, { family: true }) - before.pg) / people,
    });
  }
  const rss = residentMb(app.pid);
  await app.stop();

  await madeDue(stores, variant);
  const proxy = await countingProxy(stores.url(variant));
  const counted = await startApp({ ...options, database: proxy.url });
  await everybody(counted.url, cookies.slice(0, 30), 1);
  proxy.reset();
  const few = cookies.slice(30, 60);
  await everybody(counted.url, few, 1);
  const { statements, roundTrips, bytes } = proxy.counts();
  await counted.stop();
  proxy.stop();
  await stub.stop();

  const middle = (field, digits = 3) => rounded(median(samples.map((one) => one[field])), digits);
  return {
    ...{ bench: 'capacity', measure: 'refreshes', variant, platform: 'fastify', concurrency: CONCURRENCY, rounds },
    ...{ refreshesPerSecond: middle('perSecond', 4), spread: rounded(spread(samples.map((one) => one.perSecond)), 2) },
    ...{ p50Ms: middle('p50Ms'), p99Ms: middle('p99Ms') },
    ...{ nodeCpuMsPerRefresh: middle('nodeCpu'), pgCpuMsPerRefresh: middle('pgCpu'), rssMb: rounded(rss, 3) },
    ...{ statements: rounded(statements / few.length, 3), roundTrips: rounded(roundTrips / few.length, 3) },
    bytesPerRefresh: rounded(bytes / few.length, 4),
    settings: `${people} users, each refreshed once a round; the guard's own lookup is part of it`,
  };
}
