// The cleanup under load: so many sessions run out, and requests go on while an instance removes them.
import { fire } from '../frame/load.mjs';
import { freePort } from '../frame/postgres.mjs';
import { startApp } from '../frame/servers.mjs';
import { median } from '../frame/statistics.mjs';
import { inside } from './tables.mjs';

/** Lets `many` sessions of one size run out, and watches the cleanup take them; gives up after `patience` seconds. */
export async function cleanup({ size, stub, many, patience }) {
  // Those whose number ends in 7: the load uses none of them.
  await inside(size.url, async (client) => {
    await client.query(
      `update oauth_sessions set idle_expires_at = now() - interval '1 day', expires_at = now() - interval '1 day'
       where id in (select md5('session' || (i * 10 + 7))::uuid from generate_series(0, $1 - 1) i)`,
      [many],
    );
    await client.query('analyze oauth_sessions');
  });
  const left = () =>
    inside(size.url, async (client) => {
      const { rows } = await client.query('select count(*)::float8 as n from oauth_sessions where expires_at < now()');
      return rows[0].n;
    });
  const app = await startApp({
    ...{ variant: 'ours', platform: 'fastify', port: await freePort(), database: size.url, provider: stub.provider },
    cleanup: { interval: 1, batchSize: 1000 },
  });
  const expired = await left();
  const begun = performance.now();
  const load = [];
  let remaining = expired;
  while (remaining > 0 && performance.now() - begun < patience * 1000) {
    const result = await fire({ url: `${app.url}/bench`, list: size.list, connections: 16, seconds: 1 });
    if (result.refused > 0) throw new Error(`${result.refused} refused during the cleanup: ${app.log()}`);
    load.push(result.p99Ms);
    remaining = await left();
  }
  const seconds = (performance.now() - begun) / 1000;
  await app.stop();
  return {
    cleanupRows: expired - remaining,
    cleanupLeft: remaining,
    cleanupRowsPerSecond: (expired - remaining) / seconds,
    cleanupGuardP99Ms: median(load),
  };
}
