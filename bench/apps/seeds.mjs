// Rows and cookies that agree: session number i has the same secret in JavaScript and in SQL.
import { createHash, createHmac } from 'node:crypto';

/** The secret of session number `i`: 43 characters of base64url. */
export const secretOf = (i) => createHash('sha256').update(`bench:${i}`).digest('base64url');

/** The same secret as an SQL expression over a column `i`. */
export const secretSql = `rtrim(translate(encode(sha256(('bench:' || i)::bytea), 'base64'), '+/', '-_'), '=')`;

/** HMAC-SHA256 in base64, as express-session and better-auth sign their cookies. */
export const signature = (value, secret) => createHmac('sha256', secret).update(value).digest('base64');

/** The key every variant signs with. */
export const signingSecret = 'a benchmark secret of more than thirty-two characters';

/** How many distinct users `n` sessions belong to: ten sessions a user would be many, so two. */
export const usersFor = (n) => Math.max(1, Math.ceil(n / 2));

/**
 * Empties tables and fills them in one transaction: no log is written for them (`wal_level` is minimal), foreign keys
 * are not checked one by one (the rows agree by construction), and every index is built once, at the end.
 *
 * @param {import('pg').Client} client
 * @param {string[]} tables
 * @param {() => Promise<void>} write
 */
export async function bulk(client, tables, write) {
  await client.query('begin');
  await client.query('set local session_replication_role = replica');
  await client.query(`truncate ${tables.join(', ')} cascade`);
  await client.query(
    `update pg_index set indisready = false, indisvalid = false
     where indrelid in (select oid from pg_class where relname = any($1) and relnamespace = 'public'::regnamespace)`,
    [tables],
  );
  await write();
  for (const table of tables) await client.query(`reindex table ${table}`);
  await client.query('commit');
}
