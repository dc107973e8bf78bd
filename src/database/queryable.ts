// What runs statements, as repositories see it.
import type { QueryResultRow } from 'pg';

/** Runs statements; the database, or one open transaction. */
export interface Queryable {
  /** Runs one parameterised statement and returns its rows. */
  query<Row extends QueryResultRow>(
    text: string,
    values?: readonly unknown[],
    options?: Pick<QueryOptions, 'prepared'>,
  ): Promise<Row[]>;
}

/** How a statement may be sent. */
export interface QueryOptions {
  /** Reading only (or idempotent): tried once more on a lost connection. @defaultValue false */
  retry?: boolean;
  /** Sent as a prepared statement where the connection is known to be direct. @defaultValue false */
  prepared?: boolean;
}
