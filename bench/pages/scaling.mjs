// The figures of docs/scaling.md: growth, bytes, processor time, and the arithmetic for 10^6, 10^8 and 10^9 users.
import { bytes, digits, shown, table } from './markdown.mjs';
import { capacityColumns, provenance, scaleColumns } from './benchmarks.mjs';

/**
 * What a user does. These are assumptions, not measurements: put your own in and run this again.
 * `peak` is how much more the busiest hour brings than the average one.
 */
export const habits = {
  activePerDay: 0.2,
  requestsPerActiveDay: 50,
  loginsPerActiveDay: 1 / 7,
  refreshesPerActiveDay: 2,
  endingsPerActiveDay: 1 / 7,
  minutesInUsePerActiveDay: 20,
  sessionsPerUser: 2,
  grantsPerUser: 1,
  peak: 3,
};

/** Share of a core that is planned for; the rest is for what was not foreseen. */
const PLANNED = 0.5;

const perSecond = (users, perActiveDay) => (users * habits.activePerDay * perActiveDay * habits.peak) / 86_400;

/** Bytes of one row of each table with its share of the indexes, from the largest size of the run. */
function bytesPerRow(rows) {
  const largest = rows.filter(({ bench }) => bench === 'scale').sort((a, b) => b.sessions - a.sessions)[0];
  if (!largest) return undefined;
  return Object.entries(largest.tables)
    .filter(([, { rows: count }]) => count > 100)
    .map(([name, one]) => ({
      name,
      rows: one.rows,
      heap: digits(one.bytes / one.rows, 3),
      index: digits(one.indexes / one.rows, 3),
      all: (one.bytes + one.indexes) / one.rows,
    }));
}

function bytesPerUser(perRow) {
  const of = (name) => perRow?.find((one) => one.name === `oauth_${name}`)?.all ?? Number.NaN;
  const { grantsPerUser, sessionsPerUser } = habits;
  return of('accounts') + grantsPerUser * (of('grants') + of('access_tokens')) + sessionsPerUser * of('sessions');
}

/** Milliseconds of processor time of one of each, as measured: of the Node process and of Postgres. */
function costs(rows) {
  const largest = (list) => [...list].sort((a, b) => (b.sessions ?? 0) - (a.sessions ?? 0))[0];
  const guard = (variant) =>
    largest(
      rows.filter(
        (row) =>
          row.bench === 'guard' && row.variant === variant && row.platform === 'fastify' && row.concurrency === 128,
      ),
    );
  const fresh = guard('ours') ?? largest(rows.filter(({ bench }) => bench === 'scale'));
  const cached = guard('ours-cached');
  const login = rows.find((row) => row.bench === 'login' && row.variant === 'ours' && row.provider === 'stub');
  const refresh = rows.find((row) => row.bench === 'capacity' && row.measure === 'refreshes');
  return {
    request: { what: 'guarded request, fresh', node: fresh?.nodeCpuMsPerRequest, pg: fresh?.pgCpuMsPerRequest },
    cached: { what: 'guarded request, cached', node: cached?.nodeCpuMsPerRequest, pg: cached?.pgCpuMsPerRequest },
    login: { what: 'login', node: login?.nodeCpuMsPerLogin, pg: login?.pgCpuMsPerLogin },
    refresh: { what: 'refresh', node: refresh?.nodeCpuMsPerRefresh, pg: refresh?.pgCpuMsPerRefresh },
  };
}

function arithmetic(rows) {
  const cost = costs(rows);
  const each = bytesPerUser(bytesPerRow(rows));
  const touches = rows.find((row) => row.bench === 'capacity' && row.measure === 'touches');
  const cores = (busyMsPerSecond) =>
    Number.isFinite(busyMsPerSecond) ? Math.max(1, Math.ceil(busyMsPerSecond / 1000 / PLANNED)) : null;
  const lines = [10 ** 6, 10 ** 8, 10 ** 9].map((users) => {
    const rate = {
      request: perSecond(users, habits.requestsPerActiveDay),
      login: perSecond(users, habits.loginsPerActiveDay),
      refresh: perSecond(users, habits.refreshesPerActiveDay),
      ending: perSecond(users, habits.endingsPerActiveDay),
      // At most one a minute in use, with the default `touchInterval`.
      touch: perSecond(users, habits.minutesInUsePerActiveDay),
    };
    const busy = (side, guard) =>
      rate.request * (cost[guard][side] ?? Number.NaN) +
      rate.login * (cost.login[side] ?? Number.NaN) +
      rate.refresh * (cost.refresh[side] ?? Number.NaN);
    return {
      users,
      request: digits(rate.request),
      login: digits(rate.login),
      refresh: digits(rate.refresh),
      ending: digits(rate.ending),
      touch: digits(rate.touch),
      log: bytes(rate.touch * (touches?.walBytesPerTouch ?? Number.NaN)),
      disk: bytes(users * each),
      node: cores(busy('node', 'request')),
      pg: cores(busy('pg', 'request')),
      pgCached: cores(busy('pg', 'cached')),
    };
  });
  return table(lines, [
    ['users', 'users'],
    ['guarded requests/s', 'request'],
    ['logins/s', 'login'],
    ['refreshes/s', 'refresh'],
    ['sessions ended/s', 'ending'],
    ['touches/s', 'touch'],
    ['log of touches, a second', 'log'],
    ['tables and indexes', 'disk'],
    ['Node cores', 'node'],
    ['Postgres cores, fresh', 'pg'],
    ['Postgres cores, cached', 'pgCached'],
  ]);
}

/** Each figure by the name of its place in the page. */
export function scalingFigures(all, source) {
  const [environment, ...rows] = all;
  const of = (bench) => rows.filter((row) => row.bench === bench);
  const perRow = bytesPerRow(rows);
  const largest = of('scale').sort((a, b) => b.sessions - a.sessions)[0];
  const indexes = Object.entries(largest?.indexes ?? {}).map(([name, size]) => ({ name, size: bytes(size) }));
  return {
    provenance: provenance(environment, source),
    habits: table(
      Object.entries({
        'share of users active on a day': habits.activePerDay,
        'guarded requests of an active user on a day': habits.requestsPerActiveDay,
        'logins of an active user on a day': '1/7 (once a week)',
        'refreshes of an active user on a day': habits.refreshesPerActiveDay,
        'sessions ended by an active user on a day': '1/7',
        'minutes in which an active user does something, on a day': habits.minutesInUsePerActiveDay,
        'sessions a user has': habits.sessionsPerUser,
        'grants a user has': habits.grantsPerUser,
        'busiest hour, of the average one': `${habits.peak} ×`,
        'planned load of a core': `${PLANNED * 100} %`,
      }).map(([what, value]) => ({ what, value })),
      [
        ['assumption', 'what'],
        ['value', 'value'],
      ],
    ),
    arithmetic: arithmetic(rows),
    costs: table(
      Object.values(costs(rows)).map(({ what, node, pg }) => ({ what, node, pg })),
      [
        ['processor time of one', 'what'],
        ['Node, ms', 'node'],
        ['Postgres, ms', 'pg'],
      ],
    ),
    growth: table(of('scale'), scaleColumns),
    bytes: perRow
      ? `${table(perRow, [
          ['table', 'name'],
          ['rows', 'rows'],
          ['heap and TOAST, bytes a row', 'heap'],
          ['indexes, bytes a row', 'index'],
          ['together', ({ all: sum }) => digits(sum, 3)],
        ])}

At ${shown(largest.sessions)} sessions. One user with ${habits.sessionsPerUser} sessions and ${habits.grantsPerUser} grant: **${bytes(bytesPerUser(perRow))}**.`
      : '_Not part of this run._',
    indexes: table(indexes, [
      ['index', 'name'],
      ['size', 'size'],
    ]),
    capacity: table(of('capacity'), capacityColumns),
  };
}
