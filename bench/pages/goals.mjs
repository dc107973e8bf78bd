// The goals the benchmark is held against, judged from the rows of one run.
import { digits } from './markdown.mjs';

const guard =
  (variant, platform, concurrency = 128) =>
  (row) =>
    row.bench === 'guard' && row.variant === variant && row.platform === platform && row.concurrency === concurrency;

const login = (platform) => (row) =>
  row.bench === 'login' && row.variant === 'ours' && row.platform === platform && row.provider === 'stub';

/** What is asked, of which rows, which member, and whether a value will do. `worst` of several rows counts. */
const goals = [
  ['guard, fresh, Express: of an empty guard', '≥ 0.90', guard('ours', 'express'), 'ofEmptyGuard', (v) => v >= 0.9],
  ['guard, fresh, Fastify: of the SELECT guard', '≥ 2', guard('ours', 'fastify'), 'ofSelectGuard', (v) => v >= 2],
  ['guard, fresh, Express, one connection: of the SELECT guard', '≥ 1', guard('ours', 'express', 1), 'ofSelectGuard', (v) => v >= 1],
  ['guard, fresh, Fastify, one connection: of the SELECT guard', '≥ 1', guard('ours', 'fastify', 1), 'ofSelectGuard', (v) => v >= 1],
  ['guard, cached, Express: of an empty guard', '≥ 0.95', guard('ours-cached', 'express'), 'ofEmptyGuard', (v) => v >= 0.95],
  ['guard, cached, Fastify: of an empty guard', '≥ 0.90', guard('ours-cached', 'fastify'), 'ofEmptyGuard', (v) => v >= 0.9],
  ['login, Express: of the direct flow', '≥ 0.9', login('express'), 'ofDirect', (v) => v >= 0.9],
  ['login, Fastify: of the direct flow', '≥ 0.9', login('fastify'), 'ofDirect', (v) => v >= 0.9],
  ['login, Express: of passport', '> 1', login('express'), 'ofPassport', (v) => v > 1],
  ['login, Express: CPU of passport', '≤ 1', login('express'), 'cpuOfPassport', (v) => v <= 1, 'most'],
  [
    'guard at 10,000 to 1,000,000 sessions: of 1,000',
    '≥ 0.90 (10 % less at most)',
    (row) => row.bench === 'scale' && row.sessions > 1_000 && row.sessions <= 1_000_000,
    'guardOfSmallest',
    (v) => v >= 0.9,
  ],
  [
    'guard at 10,000,000 sessions: of 1,000',
    '≥ 0.83 (within 1.2 ×)',
    (row) => row.bench === 'scale' && row.sessions === 10_000_000,
    'guardOfSmallest',
    (v) => v >= 1 / 1.2,
  ],
  [
    'cached: memory for one session',
    '≤ 1 KB',
    (row) => row.bench === 'capacity' && row.measure === 'memory' && row.variant === 'ours-cached',
    'bytesPerSession',
    (v) => v <= 1024,
    'most',
  ],
  [
    'cached: a revocation is seen elsewhere, median',
    '< 50 ms',
    (row) => row.bench === 'capacity' && row.measure === 'revocation',
    'p50Ms',
    (v) => v < 50,
    'most',
  ],
]; // prettier-ignore

const flawless = (row) =>
  row.providerCallsMax === 1 && row.failures === 0 && row.deadTokens === 0 && row.sessionsLost === 0;

function refreshGoal(rows) {
  const all = rows.filter(({ bench }) => bench === 'refresh');
  const own = all.filter(({ variant }) => variant === 'ours');
  const others = [...new Set(all.map(({ variant }) => variant))].filter((name) => name !== 'ours');
  const equals = others.filter((name) => all.filter(({ variant }) => variant === name).every(flawless));
  return {
    goal: 'refresh: one provider call, nothing lost, in every row; alone with it',
    asked: 'all rows',
    found:
      own.length === 0
        ? null
        : `${own.filter(flawless).length} of ${own.length} rows${equals.length > 0 ? `; so did ${equals.join(', ')}` : ''}`,
    met: own.length === 0 ? 'not in this run' : own.every(flawless) && equals.length === 0 ? 'yes' : '**no**',
  };
}

/** One row for each goal: `goal`, `asked`, `found`, `met`. */
export function judged(rows) {
  return [
    ...goals.map(([goal, asked, which, member, enough, worst = 'least']) => {
      const values = rows
        .filter(which)
        .map((row) => row[member])
        .filter((value) => typeof value === 'number');
      if (values.length === 0) return { goal, asked, found: null, met: 'not in this run' };
      const value = worst === 'most' ? Math.max(...values) : Math.min(...values);
      const range = values.length > 1 ? ` (worst of ${values.length} sizes)` : '';
      return { goal, asked, found: `${digits(value, 3)}${range}`, met: enough(value) ? 'yes' : '**no**' };
    }),
    refreshGoal(rows),
  ];
}
