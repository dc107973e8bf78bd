// The first statement of a transaction, sent together with what begins it: one round trip, and one Sync. Where BEGIN or a
// lock fails, Postgres passes over everything up to that Sync, so that the statement never stands by itself (Postgres,
// Frontend/Backend Protocol, "Extended Query").
import type pg from 'pg';
import type { QueryResult } from 'pg';
import type { Answered } from './answer-watch.js';
import { ownQueries } from './own-query.js';

/** Whatever the default of the database is: in another level, the lock's own statement would fix what all later ones see. */
const BEGIN = 'begin isolation level read committed';
const LOCK = 'select pg_advisory_xact_lock($1::bigint)';

/** What pg's connection offers for sending statements. */
interface Wire {
  parse(statement: { text: string; name: string; types?: undefined }): void;
  bind(portal: { portal: string; statement: string; values: readonly string[] }): void;
  execute(portal: { portal: string; rows: number }): void;
  sync(): void;
}

/** What is inherited of pg's own query. */
interface Stock {
  prepare(connection: Wire): void;
  handleDataRow(message: unknown): void;
  handleCommandComplete(message: unknown, connection: Wire): void;
}
type StockQuery = new (
  text: string,
  values: readonly unknown[] | undefined,
  callback: Answered<QueryResult>,
) => Stock & pg.Submittable;

/** What goes with a first statement. */
export interface Around {
  /** Keys of advisory locks. */
  readonly locks: readonly bigint[];
  /** Whether COMMIT goes with it as well: it is the last one, too. */
  readonly commits: boolean;
}

/** Makes the query that begins a transaction, takes its locks in the order given, and runs the first statement under them. */
export type MakeOpeningQuery = (
  around: Around,
  text: string,
  values: readonly unknown[] | undefined,
  told: Answered<QueryResult>,
) => pg.Submittable;

/** Opening queries for one version of pg. They are pg's own, with something before them. */
export function openingQueries(postgres: Pick<typeof pg, 'Query'>): MakeOpeningQuery {
  class Opening extends (ownQueries(postgres) as unknown as StockQuery) {
    /** Commands that are to be done until the statement's own is. */
    #left: number;

    constructor(
      private readonly around: Around,
      ...statement: ConstructorParameters<StockQuery>
    ) {
      super(...statement);
      this.#left = 2 + around.locks.length;
    }

    /**
     * Also without values: a simple query is a Sync of its own. pg notes a named statement as prepared once BEGIN has been:
     * where a lock then fails, the next one to use that name finds it stale, and goes without.
     */
    requiresPreparation(): boolean {
      return true;
    }

    override prepare(connection: Wire): void {
      connection.parse({ text: BEGIN, name: '' });
      run(connection, []);
      if (this.around.locks.length > 0) connection.parse({ text: LOCK, name: '' });
      for (const key of this.around.locks) run(connection, [String(key)]);
      super.prepare(this.around.commits ? committing(connection) : connection);
    }

    override handleDataRow(message: unknown): void {
      if (this.#left === 1) super.handleDataRow(message);
    }

    override handleCommandComplete(message: unknown, connection: Wire): void {
      if (this.#left-- === 1) super.handleCommandComplete(message, connection);
    }
  }
  return (around, text, values, told) => new Opening(around, text, values, told);
}

/** The same connection, where what is sent ends with COMMIT. */
function committing(connection: Wire): Wire {
  return Object.create(connection, {
    sync: {
      value: () => {
        connection.parse({ text: 'commit', name: '' });
        run(connection, []);
        connection.sync();
      },
    },
  }) as Wire;
}

/** Executes the unnamed statement. */
function run(connection: Wire, values: readonly string[]): void {
  connection.bind({ portal: '', statement: '', values });
  connection.execute({ portal: '', rows: 0 });
}
