// SQL over every sealed column, for re-sealing with another key. Values are compared before they are replaced, and
// nothing else of a row changes: a refresh under way neither loses its answer nor its version.
import { Inject, Injectable } from '@nestjs/common';
import { Database } from '../database/database.service.js';
import type { Queryable } from '../database/queryable.js';

/** A column that holds sealed values, and the key of its table. */
export interface SealedColumn {
  readonly table: string;
  readonly column: string;
  /** Key columns with their types, in order. */
  readonly key: readonly (readonly [name: string, type: string])[];
}

const ID = [['id', 'uuid']] as const;
const TOKEN = [
  ['grant_id', 'uuid'],
  ['audience', 'text'],
] as const;
const STATE = [['state_hash', 'bytea']] as const;

/** All sealed columns. */
export const SEALED_COLUMNS: readonly SealedColumn[] = [
  { table: 'oauth_grants', column: 'refresh_token', key: ID },
  { table: 'oauth_grants', column: 'dpop_key', key: ID },
  { table: 'oauth_access_tokens', column: 'token', key: TOKEN },
  { table: 'oauth_access_tokens', column: 'dpop_key', key: TOKEN },
  { table: 'oauth_sessions', column: 'id_token', key: ID },
  { table: 'oauth_revocations', column: 'token', key: ID },
  { table: 'oauth_states', column: 'payload', key: STATE },
  { table: 'oauth_states', column: 'return_to', key: STATE },
]; // prettier-ignore

/** A sealed value (or only its header) and where it is. */
export interface SealedRow {
  /** Key columns as text, in order. */
  readonly key: readonly string[];
  readonly value: string;
}

/** Reads and replaces sealed values. */
@Injectable()
export class RekeyRepository {
  constructor(@Inject(Database) private readonly database: Queryable) {}

  /** One batch in key order. @param after key of the last row of the batch before; null for the first one */
  async batch(
    { table, column, key }: SealedColumn,
    { after, limit, headerOnly }: { after: readonly string[] | null; limit: number; headerOnly: boolean },
  ): Promise<SealedRow[]> {
    const names = key.map(([name]) => name).join(', ');
    const cursor = key.map(([, type], index) => `($1::text[])[${index + 1}]::${type}`).join(', ');
    return this.database.query<SealedRow & Record<string, unknown>>(
      `select array[${key.map(([name]) => `${name}::text`).join(', ')}] as key,
              ${headerOnly ? `split_part(${column}, '.', 1)` : column} as value
       from ${table}
       where ${column} is not null and ($1::text[] is null or (${names}) > (${cursor}))
       order by ${names} limit $2::integer`,
      [after, limit],
    );
  }

  /** Replaces values that are still as they were read. Rows that somebody holds are passed over. @returns how many were replaced */
  async replace(
    { table, column, key }: SealedColumn,
    rows: readonly { key: readonly string[]; old: string; sealed: string }[],
  ): Promise<number> {
    const keys = key.map((_, index) => rows.map((row) => row.key[index]));
    const given = key.map(([name, type], index) => `unnest($${index + 3}::text[])::${type} as ${name}`).join(', ');
    const same = key.map(([name]) => `t.${name} = v.${name}`).join(' and ');
    const replaced = await this.database.query(
      `with v as (
         select unnest($1::text[]) as old, unnest($2::text[]) as sealed, ${given}
       ), held as (
         select ${key.map(([name]) => `t.${name}`).join(', ')}, v.old, v.sealed from ${table} t join v on ${same}
         where t.${column} = v.old order by ${key.map(([name]) => `t.${name}`).join(', ')} for update of t skip locked
       )
       update ${table} t set ${column} = v.sealed from held v where ${same} and t.${column} = v.old returning 1 as replaced`,
      [rows.map((row) => row.old), rows.map((row) => row.sealed), ...keys],
    );
    return replaced.length;
  }
}
