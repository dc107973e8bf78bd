// How statements go over a connection: as pg's queries, or as questions whose answers are texts; each with a bounded wait.
import type pg from 'pg';
import type { PoolClient, QueryResult, QueryResultRow } from 'pg';
import { type Answered, AnswerWatch } from './answer-watch.js';
import { type Around, type MakeOpeningQuery, openingQueries } from './opening-query.js';
import { type OwnQuery, ownQueries } from './own-query.js';
import { type MakeTextQuery, textQueries, type TextRow } from './text-query.js';

/** One statement as it is sent. */
export interface Statement {
  readonly text: string;
  readonly values?: readonly unknown[];
  /** Of the prepared statement, where it is to be one. */
  readonly name?: string | undefined;
}

/** A statement that is answered in texts. */
export interface Question extends Statement {
  readonly values: readonly (string | Buffer)[];
}

/** Sends statements. */
export class Sender {
  readonly #watch = new AnswerWatch();
  #query: OwnQuery | undefined;
  #textQuery: MakeTextQuery | undefined;
  #openingQuery: MakeOpeningQuery | undefined;

  /** @param postgres the pg module, asked when it is needed: it exists only once the DataSource does */
  constructor(private readonly postgres: () => Pick<typeof pg, 'Query'>) {}

  /** Sends a statement. @param timeout milliseconds */
  send<Row extends QueryResultRow>(
    client: PoolClient,
    { text, values, name }: Statement,
    timeout: number,
    done: Answered<QueryResult<Row>>,
  ): void {
    // A configuration would be copied descriptor by descriptor, which costs more than sending it: the query itself is not.
    // pg tells of a value that it cannot send, and then once more of the answer to what it did send.
    this.#query ??= ownQueries(this.postgres());
    const told = this.#watch.begin(timeout, done) as Answered<QueryResult>;
    const query = new this.#query(text, values && [...values], told);
    client.query(Object.assign(query, { name }));
  }

  /** Begins a transaction under advisory locks with its first statement. @param timeout of all of it, milliseconds */
  open<Row extends QueryResultRow>(
    client: PoolClient,
    around: Around,
    { text, values, name }: Statement,
    timeout: number,
    done: Answered<QueryResult<Row>>,
  ): void {
    this.#openingQuery ??= openingQueries(this.postgres());
    const told = this.#watch.begin(timeout, done) as Answered<QueryResult>;
    client.query(Object.assign(this.#openingQuery(around, text, values && [...values], told), { name }));
  }

  /** Asks for texts. @param timeout milliseconds */
  ask(client: PoolClient, { text, values, name }: Question, timeout: number, done: Answered<readonly TextRow[]>): void {
    this.#textQuery ??= textQueries(this.postgres());
    client.query(this.#textQuery(text, values, name, this.#watch.begin(timeout, done)));
  }
}
