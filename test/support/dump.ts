// The whole content of a database as one text, to look for what must not be in it.
import { spellingsOf } from './captured-output.js';
import type { TestDatabase } from './database.js';

/**
 * Every column of every row of every table, as text; binary columns as hex, base64 and escaped text.
 *
 * @returns Lines `schema.table[row].column = value`.
 */
export async function dumpDatabase({ query }: Pick<TestDatabase, 'query'>): Promise<string> {
  const columns = await query<{ table: string; column: string; type: string }>(`
    select format('%I.%I', n.nspname, c.relname) as "table", quote_ident(a.attname) as "column", t.typname as "type"
    from pg_attribute a
    join pg_class c on c.oid = a.attrelid
    join pg_namespace n on n.oid = c.relnamespace
    join pg_type t on t.oid = a.atttypid
    where c.relkind in ('r', 'p', 'm') and a.attnum > 0 and not a.attisdropped
      and n.nspname not in ('pg_catalog', 'information_schema') and n.nspname not like 'pg\\_toast%'
    order by 1, a.attnum`);
  const lines: string[] = [];
  for (const table of new Set(columns.map((column) => column.table))) {
    const own = columns.filter((column) => column.table === table);
    const rows = await query<Record<string, string | null>>(
      `select ${own.flatMap(spelledOut).join(', ')} from ${table}`,
    );
    for (const [index, row] of rows.entries()) {
      for (const [column, value] of Object.entries(row)) lines.push(`${table}[${index}].${column} = ${value}`);
    }
  }
  return lines.join('\n');
}

/** Those of the given strings that are anywhere in a database, plain or encoded. */
export async function findInDatabase(
  database: Pick<TestDatabase, 'query'>,
  canaries: readonly string[],
): Promise<string[]> {
  const dump = await dumpDatabase(database);
  return canaries.filter((canary) => spellingsOf(canary).some((spelling) => dump.includes(spelling)));
}

function spelledOut({ column, type }: { column: string; type: string }): string[] {
  if (type !== 'bytea') return [`${column}::text`];
  return ['hex', 'base64', 'escape'].map(
    (form) => `replace(encode(${column}, '${form}'), E'\\n', '') as "${form} of ${column.replaceAll('"', '')}"`,
  );
}
