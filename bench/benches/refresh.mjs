// Many callers want one user's access token at the moment it has run out, in several processes, at a provider that
// rotates refresh tokens and revokes the family when an old one comes back. Correct is: one call, no failure, not lost.
import { catalogue, variantsOf } from '../apps/catalogue.mjs';
import { Browser } from '../frame/browser.mjs';
import { cpuMs } from '../frame/cores.mjs';
import { freePort } from '../frame/postgres.mjs';
import { startApp } from '../frame/servers.mjs';
import { median, percentile, rounded } from '../frame/statistics.mjs';
import { cookiesByLogin, startStub } from './people.mjs';
import { makeStores } from './stores.mjs';

export const columns = [
  ...[
    'variant',
    'processes',
    'callers',
    'rounds',
    'providerCalls',
    'providerCallsMax',
    'failures',
    'deadTokens',
    'sessionsLost',
  ],
  ...['p50Ms', 'p99Ms', 'burstMs', 'nodeCpuMsPerCaller'],
];

/** One call for a token, on a connection that may already be open. */
async function call(browser, url, cookie) {
  const begun = performance.now();
  const answer = await browser
    .request(`${url}/token`, { headers: { accept: 'application/json', 'sec-fetch-mode': 'cors', cookie } })
    .catch((error) => ({ status: 0, body: String(error) }));
  return { status: answer.status, body: answer.body, ms: performance.now() - begun };
}

const tokenIn = ({ status, body }) => (status === 200 ? JSON.parse(body).token : undefined);

/** Sessions whose access token has run out: by a real login where the peer needs one, else written to its tables. */
async function people({ variant, app, stores, stub, count, prefix }) {
  const peer = await catalogue[variant].load();
  if (!peer.account) {
    return cookiesByLogin({ variant, app, issuer: stub.provider.issuer, count, prefix });
  }
  const found = [];
  for (let i = 0; i < count; i++) {
    const { refresh_token: refreshToken } = await stub.ask({ mint: true });
    found.push(await stores.query(variant, (client) => peer.account(client, { number: people.next++, refreshToken })));
  }
  return found;
}
people.next = 1_000_000;

async function burst({ apps, browsers, cookie, stub }) {
  const before = await stub.ask({ counts: true });
  const begun = performance.now();
  const answers = await Promise.all(browsers.map((browser, i) => call(browser, apps[i % apps.length].url, cookie)));
  const burstMs = performance.now() - begun;
  const after = await stub.ask({ counts: true });
  const tokens = answers.map(tokenIn);
  const accepted = await stub.ask({ accepted: tokens });
  return {
    calls: after.refreshes - before.refreshes,
    failures: tokens.filter((token) => token === undefined).length,
    dead: tokens.filter((token, i) => token !== undefined && !accepted[i]).length,
    times: answers.map(({ ms }) => ms),
    burstMs,
    firstFailure: answers.find(({ status }) => status !== 200),
  };
}

/** After everything: access tokens made old, a fresh process, and one call each. Does the session still give tokens? */
async function survivors({ variant, options, stores, stub, cookies, revokedCount }) {
  const { expire } = await catalogue[variant].load();
  // With everything in the cookie nothing can be made old from outside; a revoked family is lost for certain.
  if (!expire) return cookies.length - revokedCount;
  await stores.query(variant, expire);
  const app = await startApp({ ...options, port: await freePort() }, { role: 'any' });
  const browser = new Browser();
  let alive = 0;
  for (const cookie of cookies) {
    const token = tokenIn(await call(browser, app.url, cookie));
    if (token !== undefined && (await stub.ask({ accepted: [token] }))[0]) alive++;
  }
  browser.close();
  await app.stop();
  return alive;
}

async function row({ context, variant, processes, callers, rounds, stores, stub }) {
  const ports = [];
  for (let i = 0; i < processes; i++) ports.push(await freePort());
  const options = {
    ...{ variant, platform: 'express', database: stores.url(variant), provider: stub.provider },
    baseUrl: `http://127.0.0.1:${ports[0]}`,
  };
  const apps = await Promise.all(
    ports.map((port) => startApp({ ...options, port }, { role: 'any', profile: context.profile })),
  );
  const prefix = `${variant}-${processes}-${callers}`;
  const cookies = await people({ variant, app: apps[0], stores, stub, count: rounds, prefix });
  await new Promise((resolve) => setTimeout(resolve, 1200));

  const browsers = Array.from({ length: callers }, () => new Browser());
  // Connections are opened beforehand, by a request without a session.
  await Promise.all(
    browsers.map((browser, i) => browser.request(`${apps[i % processes].url}/token`).catch(() => undefined)),
  );
  browsers.forEach((browser) => browser.forget());

  const cpu = () => apps.reduce((sum, app) => sum + cpuMs(app.pid), 0);
  const cpuBefore = cpu();
  const bursts = [];
  for (const cookie of cookies) bursts.push(await burst({ apps, browsers, cookie, stub }));
  const cpuUsed = cpu() - cpuBefore;
  const { revoked } = await stub.ask({ punished: true });
  browsers.forEach((browser) => browser.close());
  for (const app of apps) await app.stop();
  const alive = await survivors({ variant, options, stores, stub, cookies, revokedCount: revoked - row.revokedBefore });
  row.revokedBefore = (await stub.ask({ punished: true })).revoked;

  const sum = (field) => bursts.reduce((total, one) => total + one[field], 0);
  const times = bursts.flatMap((one) => one.times);
  const failure = bursts.find((one) => one.firstFailure)?.firstFailure;
  return {
    ...{ bench: 'refresh', variant, platform: 'express', processes, callers, concurrency: callers, rounds },
    providerCalls: median(bursts.map((one) => one.calls)),
    providerCallsMax: Math.max(...bursts.map((one) => one.calls)),
    ...{ failures: sum('failures'), deadTokens: sum('dead'), sessionsLost: rounds - alive },
    ...{ p50Ms: rounded(percentile(times, 0.5), 3), p99Ms: rounded(percentile(times, 0.99), 3) },
    burstMs: rounded(median(bursts.map((one) => one.burstMs)), 3),
    nodeCpuMsPerCaller: rounded(cpuUsed / (callers * rounds), 3),
    settings: catalogue[variant].settings,
    ...(failure && { failureExample: `${failure.status} ${String(failure.body).slice(0, 200)}` }),
  };
}
row.revokedBefore = 0;

export async function run(context) {
  const plan = context.quick
    ? {
        cells: [
          [1, 100, 2],
          [2, 100, 1],
          [4, 1000, 1],
        ],
      }
    : {
        cells: [1, 2, 4].flatMap((processes) => [
          [processes, 100, 5],
          [processes, 1000, 2],
        ]),
      };
  // The first access token lives a second, so that it has run out when the callers come.
  const stub = await startStub({ punish: true, firstSeconds: 1, accessTokenSeconds: 3600, delayMs: 100 });
  const variants = variantsOf('refresh', 'express', context.only);
  const stores = await makeStores({ postgres: context.postgres, variants, sessions: 10, log: context.log });
  const rows = [];
  for (const [processes, callers, rounds] of plan.cells) {
    for (const variant of variants)
      rows.push(await row({ context, variant, processes, callers, rounds, stores, stub }));
    context.log(`  ${callers} callers in ${processes} processes`);
  }
  await stub.stop();
  await stores.drop();
  return rows;
}
