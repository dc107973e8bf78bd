// The benchmark: node bench/run.mjs [guard|login|refresh|seal|scale|capacity|expiry …] [--json FILE] [--quick]
// More: [--only VARIANT,…] [--platform express|fastify] [--sessions N,…] [--profile FOLDER]
// BENCH_DIST=FOLDER measures another build of the library.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const all = ['guard', 'login', 'refresh', 'seal', 'scale', 'capacity'];
/** Only when named. */
const onDemand = ['expiry'];
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    json: { type: 'string' },
    quick: { type: 'boolean', default: false },
    only: { type: 'string' },
    platform: { type: 'string' },
    sessions: { type: 'string' },
    profile: { type: 'string' },
  },
});
const unknown = positionals.filter((name) => ![...all, ...onDemand].includes(name));
if (unknown.length > 0) {
  process.stderr.write(`Unknown bench ${unknown.join(', ')}; there are ${[...all, ...onDemand].join(', ')}.\n`);
  process.exit(2);
}
const chosen = positionals.length > 0 ? positionals : all;

const here = fileURLToPath(new URL('.', import.meta.url));
const root = fileURLToPath(new URL('..', import.meta.url));
if (!existsSync(`${here}node_modules/better-auth`)) {
  process.stderr.write('The peers are not installed. Run first:  npm ci --prefix bench\n');
  process.exit(2);
}
const withoutOurs = values.only !== undefined && !values.only.includes('ours');
if (!withoutOurs && !process.env.BENCH_DIST && !existsSync(`${root}dist/src/index.js`)) {
  process.stderr.write('No build found: running `npm run build` first.\n');
  const built = spawnSync('npm', ['run', 'build'], { cwd: root, stdio: 'inherit' });
  if (built.status !== 0) process.exit(2);
}
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(130));

const { pinSelf } = await import('./frame/cores.mjs');
const { startPostgres } = await import('./frame/postgres.mjs');
const { environment, table, writeRows } = await import('./frame/report.mjs');

const log = (text) => process.stderr.write(`${text}\n`);
pinSelf();
if (values.profile) mkdirSync(values.profile, { recursive: true });
const begun = Date.now();
const postgres = await startPostgres();
const machine = environment(postgres.version);
log(
  `${machine.cpu}, ${machine.cores} cores, Node ${machine.node}, Postgres ${machine.postgres}, ${machine.generator}; ${machine.placement}`,
);

const context = {
  postgres,
  log,
  quick: values.quick,
  only: values.only?.split(','),
  platforms: values.platform ? values.platform.split(',') : ['express', 'fastify'],
  sizes: values.sessions?.split(',').map(Number),
  profile: values.profile,
};
const rows = [];
let failed = false;
for (const name of chosen) {
  log(`${name} …`);
  const started = Date.now();
  try {
    const { run, columns } = await import(`./benches/${name}.mjs`);
    const found = await run(context);
    rows.push(...found.map((row) => ({ ...row, quick: values.quick })));
    process.stdout.write(`\n${name} (${Math.round((Date.now() - started) / 1000)} s)\n${table(found, columns)}\n`);
  } catch (error) {
    failed = true;
    log(`${name} failed: ${error?.stack ?? error}`);
  }
  const seconds = Math.round((Date.now() - begun) / 1000);
  if (values.json)
    writeRows(values.json, [{ bench: 'environment', ...machine, quick: values.quick, seconds }, ...rows]);
}
await postgres.stop();
log(`\ndone in ${Math.round((Date.now() - begun) / 1000)} s${values.json ? `, rows in ${values.json}` : ''}`);
process.exit(failed ? 1 : 0);
