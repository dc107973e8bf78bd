// What a session costs in the memory of a process: the live heap after garbage collection with W, W + N and W + 2N
// sessions looked up. The same application without a cache is asked the same, to show what does not belong to the cache.
import { catalogue } from '../apps/catalogue.mjs';
import { Browser } from '../frame/browser.mjs';
import { freePort } from '../frame/postgres.mjs';
import { startApp } from '../frame/servers.mjs';
import { rounded } from '../frame/statistics.mjs';

const WARM = 2_000;

/** Asks for every one of these sessions once, on sixteen connections. */
async function lookUp(url, cookies) {
  let next = 0;
  await Promise.all(
    Array.from({ length: 16 }, async () => {
      const browser = new Browser();
      while (next < cookies.length) {
        const answer = await browser.request(`${url}/bench`, { headers: { cookie: cookies[next++] } });
        if (answer.status !== 200) throw new Error(`the guarded route answered ${answer.status}`);
      }
      browser.close();
    }),
  );
}

async function row({ variant, stores, stub, step }) {
  const app = await startApp(
    { variant, platform: 'fastify', port: await freePort(), database: stores.url(variant), provider: stub.provider },
    { flags: ['--expose-gc'] },
  );
  const { cookies } = await catalogue[variant].load();
  const all = cookies(Array.from({ length: WARM + 2 * step }, (_, i) => i + 1));
  const heap = [];
  const held = [];
  for (const [from, to] of [
    [0, WARM],
    [WARM, WARM + step],
    [WARM + step, WARM + 2 * step],
  ]) {
    await lookUp(app.url, all.slice(from, to));
    heap.push(await app.ask({ heap: true }));
    held.push(await app.ask({ cached: true }));
  }
  await app.stop();
  return {
    ...{ bench: 'capacity', measure: 'memory', variant, platform: 'fastify', sessions: all.length, cached: held[2] },
    bytesPerSession: rounded((heap[2] - heap[1]) / step),
    bytesPerSessionBefore: rounded((heap[1] - heap[0]) / step),
    heapMb: rounded(heap[2] / 2 ** 20),
    settings: `live heap after gc; ${step} more sessions than before, twice`,
  };
}

/** One row for each variant: ours without a cache, ours with it, the LRU by hand. */
export async function cachedMemory({ stores, stub, step }) {
  const rows = [];
  for (const variant of ['ours', 'ours-cached', 'lru']) rows.push(await row({ variant, stores, stub, step }));
  return rows;
}
