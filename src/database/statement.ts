// Statements as pg's own queries, sent over a connection that the caller holds.
import type pg from 'pg';
import type { Connection, PoolClient, Query, QueryResult, QueryResultRow } from 'pg';

/** One statement as it is sent. */
export interface Statement {
  readonly text: string;
  readonly values?: readonly unknown[];
  /** Of the prepared statement, if it is one. */
  readonly name?: string | undefined;
  /** Milliseconds until it is given up. */
  readonly timeout: number;
}

/** Told once of what came of a statement. */
export type Done<Row extends QueryResultRow> = (error: Error | undefined, result?: QueryResult<Row>) => void;

/** What pg does with a query when its turn has come. */
type Submit = (connection: Connection) => Error | null;

/** Sends one statement. @param Class pg's own, of the pg that made the connection */
export function send<Row extends QueryResultRow>(
  Class: typeof pg.Query,
  client: PoolClient,
  { statement, done }: { statement: Statement; done: Done<Row> },
): void {
  client.query(queryOf(Class, statement, done));
}

/**
 * Sends two statements in one round trip: the second is on its way before the first was answered. It fails when the first
 * does, if that begins a transaction: Postgres refuses everything in one that has failed.
 */
export function sendBehind<Row extends QueryResultRow>(
  Class: typeof pg.Query,
  client: PoolClient,
  { first, statement }: { first: Statement; statement: Statement },
): Promise<QueryResult<Row>> {
  return new Promise((resolve, reject) => {
    // What is wrong with the first one is the reason; that the second failed then is not.
    const before = queryOf(Class, first, (error) => error && reject(error));
    const query = queryOf<Row>(Class, statement, (error, result) => (error ? reject(error) : resolve(result!)));
    const [submitBefore, submit] = [before.submit as Submit, query.submit as Submit];
    before.submit = (connection): Error | null => {
      connection.stream.cork();
      try {
        return submitBefore.call(before, connection) ?? submit.call(query, connection);
      } finally {
        connection.stream.uncork();
      }
    };
    // Its turn comes when the first is answered: only then are answers its own. By then it was sent.
    query.submit = (): null => null;
    client.query(before);
    client.query(query);
  });
}

function queryOf<Row extends QueryResultRow>(
  Class: typeof pg.Query,
  { text, values, name, timeout }: Statement,
  done: Done<Row>,
): Query {
  // A configuration would be copied descriptor by descriptor, which costs more than sending it: the query itself is not.
  const query = new Class(text, values && [...values], done);
  // pg takes query_timeout per query; its types know it only for whole connections.
  return Object.assign(query, { name, query_timeout: timeout });
}
