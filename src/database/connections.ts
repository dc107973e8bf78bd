// The pool's connections, lent for one statement or for several in a row, and sorted out where they failed.
import type pg from 'pg';
import type { Pool, PoolClient, QueryResult, QueryResultRow } from 'pg';
import type { Answered } from './answer-watch.js';
import type { Deadline } from './deadline.js';
import { isConnectionFault, isStaleStatement } from './faults.js';
import type { Around } from './opening-query.js';
import { PoolLine } from './pool-line.js';
import { type Question, Sender, type Statement } from './sender.js';
import type { TextRow } from './text-query.js';

/** Lends connections and sends over them. Faults are pg's own. */
export class Connections {
  readonly #line: PoolLine;
  readonly #sender: Sender;
  /** Clients whose transaction could not be ended. */
  readonly #broken = new WeakSet<PoolClient>();

  /** @param pool @param postgres asked when they are needed: they exist only once the DataSource does */
  constructor(pool: () => Pool | undefined, postgres: () => Pick<typeof pg, 'Query'>) {
    this.#line = new PoolLine(pool);
    this.#sender = new Sender(postgres);
  }

  /** One statement over a connection of its own: it makes one promise, not one for each step. */
  once<Row extends QueryResultRow>(statement: Statement, deadline: Deadline): Promise<Row[]> {
    return new Promise((resolve, reject) => {
      this.#line.lend(deadline, (fault, client) => {
        if (!client) return reject(fault!);
        this.#sender.send<Row>(client, statement, deadline.forStatement, (error, result) => {
          this.#giveBack(client, error);
          if (error) reject(error);
          else resolve(result!.rows);
        });
      });
    });
  }

  /** One question over a connection of its own. It makes no promises. */
  ask(question: Question, deadline: Deadline, told: Answered<readonly TextRow[]>): void {
    this.#line.lend(deadline, (fault, client) => {
      if (!client) return told(fault);
      // What is left is left after the wait for the connection.
      this.#sender.ask(client, question, deadline.forStatement, (error, rows) => {
        this.#giveBack(client, error);
        told(error, rows);
      });
    });
  }

  /** Lends one connection for as long as the work takes. */
  async lend<T>(deadline: Deadline, work: (client: PoolClient) => Promise<T>): Promise<T> {
    const client = await this.#line.take(deadline);
    let fault: unknown;
    try {
      return await work(client);
    } catch (error) {
      fault = error;
      throw error;
    } finally {
      this.#giveBack(client, fault);
    }
  }

  /** One statement over a connection that was lent. @param timeout milliseconds */
  send<Row extends QueryResultRow>(
    client: PoolClient,
    statement: Statement,
    timeout: number,
  ): Promise<QueryResult<Row>> {
    return new Promise((resolve, reject) => {
      this.#sender.send<Row>(client, statement, timeout, (error, result) => (error ? reject(error) : resolve(result!)));
    });
  }

  /** Begins a transaction over a connection that was lent, with its first statement. @param timeout milliseconds */
  open<Row extends QueryResultRow>(
    client: PoolClient,
    around: Around,
    statement: Statement,
    timeout: number,
  ): Promise<QueryResult<Row>> {
    return new Promise((resolve, reject) => {
      this.#sender.open<Row>(client, around, statement, timeout, (error, result) =>
        error ? reject(error) : resolve(result!),
      );
    });
  }

  /** Its transaction could not be ended: nobody else may have this connection. */
  giveUp(client: PoolClient): void {
    this.#broken.add(client);
  }

  /** A connection that failed, is still busy with a timed-out statement or has lost a prepared one must not go back to the pool. */
  #giveBack(client: PoolClient, fault: unknown): void {
    const destroyed =
      this.#broken.has(client) || (Boolean(fault) && (isConnectionFault(fault) || isStaleStatement(fault)));
    this.#line.giveBack(client, destroyed);
  }
}
