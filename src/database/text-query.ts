// A statement whose rows are taken as Postgres sends them: as texts. Guarded requests wait for such statements, and what pg
// makes of every query (an emitter, a result, fields with their parsers) is an eighth of what one costs this process.
import type pg from 'pg';
import type { Answered } from './answer-watch.js';

/** One row, column by column. */
export type TextRow = readonly (string | null)[];

/** What a query needs of pg's connection to run a statement that was prepared on it. */
interface Wire {
  bind(portal: { portal: string; statement: string; values: readonly (string | Buffer)[] }): void;
  execute(portal: { portal: string; rows: number }): void;
  sync(): void;
}

/** What is inherited of pg's own query. */
interface Stock {
  prepare(connection: Wire): void;
  hasBeenParsed(connection: Wire): boolean;
}

/** Makes a query of texts. @param name of the prepared statement, where it is to be one */
export type MakeTextQuery = (
  text: string,
  values: readonly (string | Buffer)[],
  name: string | undefined,
  told: Answered<readonly TextRow[]>,
) => pg.Submittable;

/**
 * Text queries for one version of pg. They inherit from its own query how statements are sent and remembered, and are
 * among its own for `pipeline: true`, which refuses others; they are not made by its constructor.
 */
export function textQueries({ Query }: Pick<typeof pg, 'Query'>): MakeTextQuery {
  const stock = Query.prototype as unknown as Stock;

  class Asked {
    readonly portal = '';
    readonly #rows: TextRow[] = [];

    /** Whatever the connection's setting is, which pg sets here. */
    get binary(): boolean {
      return false;
    }
    set binary(_: boolean) {}

    constructor(
      readonly text: string,
      readonly values: readonly (string | Buffer)[],
      readonly name: string | undefined,
      /** Where a `query_timeout` is set for all connections, pg puts its own before it. */
      public callback: Answered<readonly TextRow[]>,
    ) {}

    prepare(connection: Wire): void {
      // What is prepared is known: no description of its columns is asked for.
      if (!stock.hasBeenParsed.call(this, connection)) return stock.prepare.call(this, connection);
      connection.bind({ portal: this.portal, statement: this.name!, values: this.values });
      connection.execute({ portal: this.portal, rows: 0 });
      connection.sync();
    }

    handleRowDescription(): void {}

    handleDataRow({ fields }: { fields: TextRow }): void {
      this.#rows.push(fields);
    }

    handleCommandComplete(): void {}

    handleError(error: Error): void {
      this.callback(error);
    }

    handleReadyForQuery(): void {
      this.callback(null, this.#rows);
    }
  }
  Object.setPrototypeOf(Asked.prototype, stock);
  return (text, values, name, told) => new Asked(text, values, name, told) as unknown as pg.Submittable;
}
