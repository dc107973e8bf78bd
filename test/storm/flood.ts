// `npm run flood`: /login from ever new browsers, as an attacker without cookies does it. In the environment: FLOOD_LOGINS
// how many (20,000). Says what a row costs, whether the bound holds, whether callbacks get slower, and how fast cleanup is.
import { Agent, get } from 'node:http';
import globalSetup from '../support/global-setup.mjs';
import globalTeardown from '../support/global-teardown.mjs';
import { FakeProvider } from '../../src/testing/index.js';
import { StateRepository } from '../../src/state/state.repository.js';
import { oidcOf, startApp } from '../support/app.js';
import { createTestDatabase } from '../support/database.js';
import { UserAgent } from '../support/user-agent.js';

const logins = Number(process.env.FLOOD_LOGINS ?? 20_000);
const CONCURRENCY = 50;
const agent = new Agent({ keepAlive: true, maxSockets: CONCURRENCY });
/** Up to here the bound is exact. */
const BOUND = 10_000;

await globalSetup();
const database = await createTestDatabase();
const provider = await FakeProvider.start({ recordRequests: false, recordIssued: false });
const options = { database: database.url, providers: [oidcOf(provider)], platform: 'fastify' as const };
const open = await startApp({ ...options, oauth: { cleanup: false, login: { maxPending: 100_000_000 } } });
const bounded = await startApp({ ...options, oauth: { cleanup: false, login: { maxPending: BOUND } } });
try {
  const quiet = await callbacks(100);
  console.log(`callback before the flood: p50 ${quiet[0]} ms, p99 ${quiet[1]} ms`);
  const began = performance.now();
  const [statuses, during] = await Promise.all([flood(open.address, logins), callbacks(60)]);
  const seconds = (performance.now() - began) / 1000;
  console.log(`${logins} logins in ${seconds.toFixed(1)} s (${Math.round(logins / seconds)}/s): ${statuses}`);
  console.log(`callback during it, in the same process: p50 ${during[0]} ms, p99 ${during[1]} ms`);
  const after = await callbacks(100);
  console.log(`callback beside ${logins} pending logins: p50 ${after[0]} ms, p99 ${after[1]} ms`);
  const [size] = await database.query<{ rows: number; heap: number; whole: number }>(
    `select count(*)::int as rows, round(pg_table_size('oauth_states') / count(*))::int as heap,
            round(pg_total_relation_size('oauth_states') / count(*))::int as whole from oauth_states`,
  );
  console.log(`${size!.rows} rows, ${size!.heap} bytes each, ${size!.whole} with indexes`);
  const refused = await flood(bounded.address, 500);
  console.log(`bound of ${BOUND} with more pending: ${refused}`);
  await database.query(`update oauth_states set expires_at = now() - interval '2 minutes'`);
  const states = open.app.get(StateRepository);
  const cleaning = performance.now();
  let removed = 0;
  for (let batch = 1; batch > 0; removed += batch) batch = await states.removeExpired(1_000);
  const rate = Math.round((removed / (performance.now() - cleaning)) * 1000);
  console.log(`cleanup: ${removed} rows, ${rate}/s`);
} finally {
  await open.close();
  await bounded.close();
  await provider.close();
  await database.drop();
  await globalTeardown();
}
process.exit(0);

/** So many logins, at most 50 at a time. @returns statuses and how often each came */
async function flood(address: string, count: number): Promise<string> {
  const seen = new Map<number, number>();
  let left = count;
  const one = async (): Promise<void> => {
    while (left-- > 0) {
      const status = await visit(`${address}/auth/fake/login`);
      seen.set(status, (seen.get(status) ?? 0) + 1);
    }
  };
  await Promise.all(Array.from({ length: CONCURRENCY }, one));
  return [...seen].map(([status, times]) => `${status} × ${times}`).join(', ');
}

/** Not by `fetch`, which says that it is a script, and is refused. */
function visit(url: string): Promise<number> {
  return new Promise((resolve, reject) => {
    get(url, { agent }, (answer) => {
      answer.resume().on('end', () => resolve(answer.statusCode ?? 0));
    }).on('error', reject);
  });
}

/** Whole logins one after the other. @returns median and 99th percentile of the callback, milliseconds */
async function callbacks(count: number): Promise<[p50: string, p99: string]> {
  const times: number[] = [];
  for (let round = 0; round < count; round++) {
    const browser = new UserAgent();
    const start = await browser.navigate(`${open.url}/auth/fake/login`, { followRedirects: false });
    const back = await browser.navigate(start.headers.get('location')!, { followRedirects: false });
    const began = performance.now();
    const { status } = await browser.navigate(back.headers.get('location')!, { followRedirects: false });
    if (status !== 303) throw new Error(`a callback ended in ${status}`);
    times.push(performance.now() - began);
  }
  times.sort((a, b) => a - b);
  const at = (share: number) => times[Math.min(times.length - 1, Math.floor(share * times.length))]!.toFixed(1);
  return [at(0.5), at(0.99)];
}
