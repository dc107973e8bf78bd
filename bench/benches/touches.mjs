// What sliding expiry writes: sessions extended per second, a thousand in a statement as the library does it, and the
// log that each one costs. `idle_expires_at` is indexed for the cleanup, so no such update is heap-only.
import { median, rounded, spread } from '../frame/statistics.mjs';
import { inside } from './tables.mjs';

const BATCH = 1000;

export async function touchRow({ postgres, stores, sessions, rounds, statements }) {
  const variant = 'ours';
  const samples = await postgres.everyCore(() =>
    inside(stores.url(variant), async (client) => {
      const hot = async () => {
        await client.query('select pg_stat_force_next_flush()');
        const { rows } = await client.query(
          `select n_tup_upd::float8 as all, n_tup_hot_upd::float8 as hot from pg_stat_user_tables where relname = 'oauth_sessions'`,
        );
        return rows[0];
      };
      const place = async () => (await client.query('select pg_current_wal_insert_lsn() as lsn')).rows[0].lsn;
      const found = [];
      for (let round = 0; round < rounds; round++) {
        const [updates, start, begun] = [await hot(), await place(), performance.now()];
        for (let i = 0; i < statements; i++) {
          const { rowCount } = await client.query(
            `update oauth_sessions s set last_seen_at = now(), idle_expires_at = least(s.expires_at, now() + interval '12 hours')
             where s.id in (select md5('session' || ($1 - i * $2))::uuid from generate_series(0, ${BATCH - 1}) i)`,
            [sessions - round * statements - i, Math.floor(sessions / 2 / BATCH)],
          );
          if (rowCount !== BATCH) throw new Error(`${rowCount} of ${BATCH} sessions were there to extend`);
        }
        const seconds = (performance.now() - begun) / 1000;
        const { rows } = await client.query('select pg_wal_lsn_diff($1, $2)::float8 as bytes', [await place(), start]);
        const after = await hot();
        found.push({
          perSecond: (statements * BATCH) / seconds,
          wal: rows[0].bytes / (statements * BATCH),
          hot: (after.hot - updates.hot) / (after.all - updates.all),
        });
      }
      return found;
    }),
  );
  const rates = samples.map(({ perSecond }) => perSecond);
  return {
    ...{ bench: 'capacity', measure: 'touches', variant, sessions, concurrency: 1, rounds },
    ...{ touchesPerSecond: rounded(median(rates), 3), spread: rounded(spread(rates), 2) },
    walBytesPerTouch: rounded(median(samples.map(({ wal }) => wal)), 3),
    heapOnly: rounded(median(samples.map(({ hot }) => hot)), 2),
    settings: `${BATCH} sessions from all over the table in a statement, one connection, synchronous_commit off`,
  };
}
