// The regression check, by hand: node bench/compare.mjs [COMMITTED.json] NEW.json [--tolerance 0.15] [--all]
// COMMITTED is bench/results/full.json unless named; --all judges the peers' rows too.
// It compares ratios measured within one run, never times, so that two machines can be compared. Exit 1 when a ratio
// of ours became worse by more than the tolerance, or a refresh is no longer exactly right.
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { tolerance: { type: 'string', default: '0.15' }, all: { type: 'boolean', default: false } },
});
const tolerance = Number(values.tolerance);
if (positionals.length === 1) positionals.unshift(fileURLToPath(new URL('results/full.json', import.meta.url)));
if (positionals.length !== 2 || !(tolerance > 0)) {
  process.stderr.write('Usage: node bench/compare.mjs [COMMITTED.json] NEW.json [--tolerance 0.15] [--all]\n');
  process.exit(2);
}

const absent = positionals.find((file) => !existsSync(file));
if (absent) {
  process.stderr.write(`There is no ${absent}.\n`);
  process.exit(2);
}

/** The ratios of each bench, with the sign of better: +1 where more is better, -1 where less is. */
const ratios = {
  guard: { ofEmptyGuard: 1, ofSelectGuard: 1 },
  login: { ofPassport: 1, ofDirect: 1, cpuOfPassport: -1, cpuOfDirect: -1, roundTrips: -1 },
  seal: { ofJoseSeal: 1, ofJoseOpen: 1 },
  scale: { guardOfSmallest: 1, loginOfSmallest: 1, listingOfSmallest: -1, bytesPerUser: -1 },
  capacity: { bytesPerSession: -1, roundTrips: -1 },
};
/** Counts that admit no tolerance: for ours they are right or wrong. */
const exact = { refresh: { providerCallsMax: 1, failures: 0, deadTokens: 0, sessionsLost: 0 } };
const identity = [
  ...['bench', 'measure', 'variant', 'platform', 'provider', 'sessions', 'concurrency'],
  ...['processes', 'callers', 'listeners'],
];
const key = (row) =>
  identity
    .map((name) => row[name])
    .filter((value) => value !== undefined && value !== null)
    .join(' ');

const [committed, fresh] = positionals.map(
  (file) =>
    new Map(
      JSON.parse(readFileSync(file, 'utf8'))
        .filter(({ bench }) => bench !== 'environment')
        .map((row) => [key(row), row]),
    ),
);
const mine = (row) => values.all || String(row.variant).startsWith('ours');
let common = 0;
let compared = 0;
let worse = 0;
const say = (text) => process.stdout.write(`${text}\n`);

for (const [name, now] of fresh) {
  if (!mine(now)) continue;
  for (const [field, wanted] of Object.entries((String(now.variant).startsWith('ours') && exact[now.bench]) || {})) {
    compared++;
    if (now[field] === wanted) continue;
    worse++;
    say(`WRONG  ${name}  ${field}: ${now[field]}, must be ${wanted}`);
  }
  const before = committed.get(name);
  // The row without a cache is there for comparison: what it holds is noise.
  if (!before || now.cached === 0) continue;
  common++;
  for (const [field, sign] of Object.entries(ratios[now.bench] ?? {})) {
    if (typeof before[field] !== 'number' || typeof now[field] !== 'number' || before[field] === 0) continue;
    compared++;
    const change = now[field] / before[field] - 1;
    if (Math.abs(change) <= tolerance) continue;
    const better = change * sign > 0;
    if (!better) worse++;
    say(
      `${better ? 'better' : 'WORSE '} ${name}  ${field}: ${before[field]} -> ${now[field]} (${change > 0 ? '+' : ''}${Math.round(change * 100)} %)`,
    );
  }
}
const missing = [...committed].filter(([name, row]) => mine(row) && !fresh.has(name)).length;
say(
  `${compared} values of ${common} common rows compared, ${worse} worse or wrong (tolerance ${Math.round(tolerance * 100)} %)`,
);
if (missing > 0) say(`${missing} committed rows are not in the new file: benches, sizes or variants that were not run`);
if (common === 0) say('Nothing in common: were both files written by the same benches and sizes?');
process.exit(worse > 0 || common === 0 ? 1 : 0);
