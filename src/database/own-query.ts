// A query as pg has it, whose rows come as texts whatever the connection is set to.
import type pg from 'pg';
import type { QueryResult } from 'pg';
import type { Answered } from './answer-watch.js';

/** Makes a query. */
export type OwnQuery = new (
  text: string,
  values: readonly unknown[] | undefined,
  callback: Answered<QueryResult>,
) => pg.Submittable;

/**
 * Our queries for one version of pg. An application may have told it to ask for binary values (`binary: true`), of which it
 * reads some types only: ids came as garbage, by which nothing was found, and a logout ended nothing.
 */
export function ownQueries({ Query }: Pick<typeof pg, 'Query'>): OwnQuery {
  class Own extends (Query as unknown as OwnQuery) {
    /** pg sets it to what the connection is set to. */
    get binary(): boolean {
      return false;
    }
    set binary(_: boolean) {}
  }
  return Own;
}
