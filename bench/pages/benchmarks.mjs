// docs/benchmarks.md: everything one run has found, rows where we lose included.
import { judged } from './goals.mjs';
import { named, shown, table } from './markdown.mjs';

const guardColumns = [
  ['variant', named],
  ['requests/s', 'rps'],
  ['of bare', 'ofBare'],
  ['of empty guard', 'ofEmptyGuard'],
  ['of SELECT guard', 'ofSelectGuard'],
  ['spread', 'spread'],
  ['p50 ms', 'p50Ms'],
  ['p99 ms', 'p99Ms'],
  ['Node CPU s/1000', 'nodeCpuMsPerRequest'],
  ['Postgres CPU s/1000', 'pgCpuMsPerRequest'],
  ['RSS MiB', 'rssMb'],
  ['a session revoked elsewhere is', 'revokedSessionIs'],
];

const loginColumns = [
  ['variant', named],
  ['logins/s', 'loginsPerSecond'],
  ['of passport', 'ofPassport'],
  ['of direct', 'ofDirect'],
  ['CPU of passport', 'cpuOfPassport'],
  ['CPU of direct', 'cpuOfDirect'],
  ['spread', 'spread'],
  ['p50 ms', 'p50Ms'],
  ['p99 ms', 'p99Ms'],
  ['Node CPU ms', 'nodeCpuMsPerLogin'],
  ['Postgres CPU ms', 'pgCpuMsPerLogin'],
  ['statements', 'statements'],
  ['round trips', 'roundTrips'],
  ['bytes', 'bytesPerLogin'],
  ['RSS MiB', 'rssMb'],
];

const refreshColumns = [
  ['variant', named],
  ['processes', 'processes'],
  ['callers', 'callers'],
  ['bursts', 'rounds'],
  ['provider calls, median', 'providerCalls'],
  ['at most', 'providerCallsMax'],
  ['failures', 'failures'],
  ['dead tokens', 'deadTokens'],
  ['sessions lost', 'sessionsLost'],
  ['p50 ms', 'p50Ms'],
  ['p99 ms', 'p99Ms'],
  ['Node CPU ms/caller', 'nodeCpuMsPerCaller'],
];

const sealColumns = [
  ['variant', named],
  ['seals/s', 'sealPerSecond'],
  ['opens/s', 'openPerSecond'],
  ['of jose, sealing', 'ofJoseSeal'],
  ['of jose, opening', 'ofJoseOpen'],
  ['token bytes', 'tokenBytes'],
  ['sealed bytes', 'sealedBytes'],
  ['spread', 'spread'],
];

/** Also the growth table of docs/scaling.md. */
export const scaleColumns = [
  ['sessions', 'sessions'],
  ['grants', 'grants'],
  ['guard requests/s', 'rps'],
  ['of smallest', 'guardOfSmallest'],
  ['over 20,000 sessions', 'rpsWide'],
  ['spread', 'spread'],
  ['p50 ms', 'p50Ms'],
  ['p99 ms', 'p99Ms'],
  ['logins/s', 'loginsPerSecond'],
  ['of smallest ', 'loginOfSmallest'],
  ['listing p50 ms', 'listingP50Ms'],
  ['times smallest', 'listingOfSmallest'],
  ['cleanup rows/s', 'cleanupRowsPerSecond'],
  ['guard p99 ms meanwhile', 'cleanupGuardP99Ms'],
  ['tables MiB', 'tableMb'],
  ['indexes MiB', 'indexMb'],
];

/** Also the capacity table of docs/scaling.md. */
export const capacityColumns = [
  ['measure', 'measure'],
  ['variant', named],
  ['listeners', 'listeners'],
  ['bytes per cached session', 'bytesPerSession'],
  ['cached', 'cached'],
  ['sessions extended/s', 'touchesPerSecond'],
  ['log bytes each', 'walBytesPerTouch'],
  ['heap-only', 'heapOnly'],
  ['sessions ended/s', 'endingsPerSecond'],
  ['of no triggers', 'ofNoTriggers'],
  ['refreshes/s', 'refreshesPerSecond'],
  ['spread', 'spread'],
  ['p50 ms', 'p50Ms'],
  ['p99 ms', 'p99Ms'],
  ['Node CPU ms', 'nodeCpuMsPerRefresh'],
  ['Postgres CPU ms', 'pgCpuMsPerRefresh'],
  ['statements', 'statements'],
  ['round trips', 'roundTrips'],
];

const byKey = (rows, key) => {
  const groups = new Map();
  for (const row of rows) groups.set(key(row), [...(groups.get(key(row)) ?? []), row]);
  return [...groups];
};
const fastest = (member) => (a, b) => (b[member] ?? 0) - (a[member] ?? 0);
const capital = (text) => text[0].toUpperCase() + text.slice(1);

/** The sentence about where the figures are from. */
export function provenance(environment, source) {
  const { date, cpu, cores, memoryGb, node, postgres, commit, quick, note } = environment;
  return `${quick ? '**A quick run, for a first look only.** ' : ''}Measured ${date.slice(0, 10)} on ${cpu}, ${cores} cores, ${memoryGb} GB, Node ${node.replace('v', '')}, Postgres ${postgres}${commit ? `, commit ${commit}` : ''}; rows in \`${source}\`.${note ? ` ${note}` : ''}`;
}

function settings(rows) {
  const seen = new Map();
  for (const { bench, variant, settings: text } of rows)
    if (text && !['capacity', 'environment'].includes(bench)) seen.set(`${variant}\n${text}`, { variant, text });
  return table(
    [...seen.values()],
    [
      ['variant', named],
      ['settings', 'text'],
    ],
  ).replace('---:', '---');
}

export function benchmarksPage(all, source) {
  const [environment] = all;
  const rows = all.slice(1);
  const of = (bench) => rows.filter((row) => row.bench === bench);
  const guards = byKey(of('guard'), (row) => `${row.platform}|${row.sessions}|${row.concurrency}`).map(
    ([
      ,
      group,
    ]) => `### ${capital(group[0].platform)}, ${shown(group[0].sessions)} sessions, ${group[0].concurrency} connection${group[0].concurrency === 1 ? '' : 's'}

${table([...group].sort(fastest('rps')), guardColumns)}`,
  );
  const logins = byKey(of('login'), (row) => `${row.platform}|${row.provider}`).map(
    ([, group]) => `### ${capital(group[0].platform)}, ${group[0].provider}, ${group[0].concurrency} people at a time

${table([...group].sort(fastest('loginsPerSecond')), loginColumns)}`,
  );
  const versions = Object.entries(environment.versions).map(([name, version]) => ({ name, version }));
  const tuning = Object.entries(environment.tuning ?? {}).map(([name, value]) => `${name}=${value}`);
  return `# Benchmarks

Written by \`node bench/pages.mjs ${source}\`; not edited by hand. ${provenance(environment, source)}

## The run

${table(
  [
    ['command', `\`${environment.command}\``],
    ['took', environment.seconds ? `${Math.round(environment.seconds / 60)} minutes` : null],
    ['placement', environment.placement],
    ['load', environment.generator],
    ['Postgres settings, the same for all', tuning.join(', ')],
  ].map(([what, value]) => ({ what, value })),
  [
    ['what', 'what'],
    ['value', 'value'],
  ],
).replace('---:', '---')}

How to read it: only ratios mean anything on another machine. All variants of a table are up at once and measured in
turn, A B C C B A; a figure is the median over the rounds, a ratio the median of the rounds' ratios, and **spread** is
(largest − smallest) / median. CPU is that of the process under test and of all of Postgres, per request, in
milliseconds, which is seconds per 1000 requests. Load, provider and Postgres share the core that the server does not
have, so variants that ask Postgres more also leave less of it for the load. \`synchronous_commit=off\` takes the disk out
of the ratios, and favours those that commit more often. A row where this library loses stays in its table.

## Goals

${table(judged(rows), [
  ['goal', 'goal'],
  ['asked', 'asked'],
  ['found', 'found'],
  ['met', 'met'],
])}

## Guard

One guarded route, requests per second. "A session revoked elsewhere" is one whose row is deleted after it was used:
the next request should be refused. Peers that keep the session in a cookie have nothing to revoke; they are measured
at one size only.

${guards.join('\n\n') || '_Not part of this run._'}

## Login

Complete logins: start, provider, callback, first guarded request. On the stub provider, statements, round trips and
bytes are counted on the wire to Postgres, one login at a time.

${logins.join('\n\n') || '_Not part of this run._'}

## Refresh

Many callers want one user's access token at the moment it has run out; the provider rotates refresh tokens and revokes
the family when an old one comes back. Right is one call, no failure, no dead token, no session lost.

${table(of('refresh'), refreshColumns)}

## Sealing

${table(of('seal'), sealColumns)}

## Scale

The same library at growing numbers of sessions, all sizes up at once; two sessions to a user, grants for at most a
million users. What follows from it is in [scaling.md](scaling.md).

${table(of('scale'), scaleColumns)}

## Capacity

Live heap per cached session (twice the same number more, after garbage collection; the first row has no cache and
shows what does not belong to it), how soon a revocation elsewhere is seen, sessions extended by their touches, sessions
ended per second with and without the triggers of the cache, refreshes of different users per second.

${table(of('capacity'), capacityColumns)}

## What each was given

${settings(rows)}

## Versions

${table(versions, [
  ['package', 'name'],
  ['version', 'version'],
])}
`;
}
