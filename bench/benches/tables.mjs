// How large our tables and each of their indexes are, and which sessions of a filled one to use.
import pg from 'pg';

/** Runs `work` with a connection of its own. */
export async function inside(url, work) {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

/**
 * Numbers of sessions all over the table, shuffled. The same count at each size, so that only the table grows and not
 * what is in use of it; and never one that ends in 7: the cleanup takes those.
 */
export function spreadOver(sessions, count) {
  const endings = [1, 2, 3, 4, 5, 6, 8, 9, 10];
  const usable = Math.floor(sessions / 10) * endings.length;
  const numbers = Array.from({ length: Math.min(count, usable) }, (_, i) => {
    const at = Math.floor((i * usable) / Math.min(count, usable));
    return Math.floor(at / endings.length) * 10 + endings[at % endings.length];
  });
  return numbers.sort(() => Math.random() - 0.5);
}

/** Bytes and rows (as the last `analyze` found) of every table of ours, bytes of every index that has some. */
export async function sizesOf(client) {
  const { rows: tables } = await client.query(`
    select relname as name, pg_table_size(oid)::float8 as bytes, pg_indexes_size(oid)::float8 as indexes,
           greatest(reltuples, 0)::float8 as rows
    from pg_class where relkind = 'r' and relname like 'oauth\\_%' order by relname`);
  const { rows: indexes } = await client.query(`
    select relname as name, pg_relation_size(oid)::float8 as bytes
    from pg_class where relkind = 'i' and relname like 'oauth\\_%' and pg_relation_size(oid) > 16384 order by 2 desc`);
  return { tables, indexes };
}
