// `npm run storm [-- --json FILE] [--seconds N] [--route direct|pgbouncer|no-listen]`: exit code 0 only when every scenario passes.
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import pg from 'pg';
import { DataSource } from 'typeorm';
import { oauthMigrations } from '../../migrations/index.js';
import { startCluster } from '../support/embedded-cluster.mjs';
import { burst, kills, type Outcome, type Setting, stalled } from './scenarios.js';
import { type Route, startPgBouncer, stormProvider } from './surroundings.js';

const { values } = parseArgs({
  options: {
    json: { type: 'string' },
    seconds: { type: 'string', default: '60' },
    route: { type: 'string', multiple: true },
  },
});
const seconds = Number(values.seconds);
const routes = (values.route ?? ['direct', 'pgbouncer', 'no-listen']) as Route[];
const outcomes: Outcome[] = [];

const cluster = await startCluster({ settings: { max_connections: 200 } });
let code: number;
try {
  const url = new URL(cluster.url);
  url.searchParams.delete('application_name');
  const source = await new DataSource({ type: 'postgres', url: url.href, migrations: oauthMigrations }).initialize();
  await source.runMigrations();
  await source.destroy();
  for (const route of routes) await storm(route, url.href);
  code = outcomes.every((outcome) => outcome.pass) ? 0 : 1;
} finally {
  await cluster.stop();
}
console.log(code === 0 ? 'every scenario passed' : 'FAILED');
if (values.json) writeFileSync(values.json, `${JSON.stringify(outcomes, null, 2)}\n`);
process.exit(code);

async function storm(route: Route, direct: string): Promise<void> {
  const bouncer = route === 'pgbouncer' ? await startPgBouncer(direct) : undefined;
  const provider = await stormProvider();
  const pool = new pg.Pool({ connectionString: direct, max: 4, application_name: 'storm' });
  const setting: Setting = { route, database: bouncer?.url ?? direct, pool, provider, source: 'dist' };
  try {
    report(await burst(setting, { processes: 4, grants: 1, callers: 1_000, latency: [500, 500] }));
    report(await burst(setting, { processes: 4, grants: 1_000, callers: 5, latency: [50, 500] }));
    report(await stalled(setting, { processes: 4, grants: 100, seconds: 3 }));
    report(await kills(setting, { processes: 4, grants: 50, seconds }));
  } finally {
    await pool.end();
    await provider.close();
    await bouncer?.stop();
  }
}

function report(outcome: Outcome): void {
  outcomes.push(outcome);
  const {
    scenario,
    pass,
    processes,
    grants,
    calls,
    refreshes,
    errors,
    familiesLost,
    waitP50Ms,
    waitP99Ms,
    maxConnections,
    load,
  } = outcome;
  console.log(`${pass ? 'pass' : 'FAIL'}  ${scenario}: ${processes} processes, ${grants} grants`);
  console.log(
    `      calls ${calls}, provider refreshes ${refreshes}, errors ${errors}, families lost ${familiesLost}, wait p50 ${waitP50Ms} ms, p99 ${waitP99Ms} ms, connections ${maxConnections}, load ${load}`,
  );
  for (const note of outcome.notes) console.log(`      ${note}`);
}
