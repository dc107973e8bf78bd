// The application's own pool, with bounded waits. Every statement of every repository goes through here.
import { Inject, Injectable, type OnApplicationBootstrap } from '@nestjs/common';
import type pg from 'pg';
import type { Client, ClientConfig, Pool, QueryResultRow } from 'pg';
import type { DataSource } from 'typeorm';
import { ResolvedOptions } from '../options/resolve-options.js';
import type { Answered } from './answer-watch.js';
import { boundConnecting } from './bounded-connecting.js';
import { Connections } from './connections.js';
import { Deadline } from './deadline.js';
import { asOAuthError, CONFLICT_TRIES, isConflict, isConnectionFault, isStaleStatement } from './faults.js';
import { PreparedNames } from './prepared-names.js';
import type { Queryable, QueryOptions } from './queryable.js';
import type { Question } from './sender.js';
import type { TextRow } from './text-query.js';
import { Transactions } from './transactions.js';

/** Injection token of the DataSource that the `dataSource` option names. */
export const OAUTH_DATA_SOURCE = Symbol('OAUTH_DATA_SOURCE');

/** Access to Postgres over the pool of the application's DataSource. Throws {@link OAuthError} only. */
@Injectable()
export class Database implements Queryable, OnApplicationBootstrap {
  readonly #connections = new Connections(
    () => this.pool,
    () => this.postgres,
  );
  readonly #names: PreparedNames;
  readonly #transactions: Transactions;

  constructor(
    @Inject(OAUTH_DATA_SOURCE) private readonly dataSource: DataSource,
    private readonly options: ResolvedOptions,
  ) {
    this.#names = new PreparedNames(this.#connections, options.databaseTimeout);
    this.#transactions = new Transactions(this.#connections, this.#names, options.databaseTimeout);
  }

  /** Asks beforehand what {@link isDirect} would ask at the first guarded request. A database that is away is asked later. */
  onApplicationBootstrap(): void {
    if (this.pool) boundConnecting(this.pool, this.options.databaseTimeout);
    void this.isDirect().catch(() => undefined);
  }

  /** The pg pool that TypeORM opened. */
  get pool(): Pool {
    return (this.dataSource.driver as unknown as { master: Pool }).master;
  }

  /** The pg module that TypeORM loaded. */
  private get postgres(): Pick<typeof pg, 'Client' | 'Query'> {
    return (this.dataSource.driver as unknown as { postgres: typeof pg }).postgres;
  }

  /**
   * Runs one statement outside a transaction. All of it, further tries included, has one `databaseTimeout`. A prepared
   * statement that its connection has lost is sent once more, also where it writes: nothing of it was executed. Nor was
   * one that a conflict has ended (the default of the database may be serializable): somebody else has come further, and
   * it is sent again, {@link CONFLICT_TRIES} times in all.
   */
  async query<Row extends QueryResultRow>(
    text: string,
    values: readonly unknown[] = [],
    { retry, prepared }: QueryOptions = {},
  ): Promise<Row[]> {
    const deadline = new Deadline(this.options.databaseTimeout);
    let name = prepared ? (this.#names.ifKnown(text) ?? (await this.#names.onceKnown(text))) : undefined;
    let lost = false;
    let conflicts = 0;
    for (;;) {
      try {
        return await this.#connections.once<Row>({ text, values, name }, deadline);
      } catch (error) {
        if (name !== undefined && isStaleStatement(error)) {
          // Without a name, which can happen once only: other connections may have lost it as well. When the time is up
          // there is at least an answer that says so.
          name = undefined;
          continue;
        }
        if (isConflict(error) && ++conflicts < CONFLICT_TRIES && deadline.left > 0) continue;
        if (retry && !lost && isConnectionFault(error) && deadline.left > 0) {
          lost = true;
          continue;
        }
        throw asOAuthError(error);
      }
    }
  }

  /**
   * Asks for rows of texts by a statement that only reads: prepared where the connection is known to be direct, and sent
   * once more on a lost connection, or where a connection has lost the statement. Requests wait for this most, so it makes
   * no promises.
   * @param within milliseconds that are left for it, of its `databaseTimeout`
   * @param told takes the rows, or an {@link OAuthError}; what it throws over rows it is told in turn
   */
  ask(text: string, values: readonly (string | Buffer)[], within: number, told: Answered<readonly TextRow[]>): void {
    const deadline = new Deadline(this.options.databaseTimeout, within);
    const name = this.#names.ifKnown(text);
    if (name !== undefined) this.#askUntilTold({ text, values, name }, deadline, told);
    else
      void this.#names
        .onceKnown(text)
        .then((known) => this.#askUntilTold({ text, values, name: known }, deadline, told));
  }

  /**
   * Runs a transaction. BEGIN and the advisory locks go with the first statement, in one round trip; each statement judges
   * under the locks (READ COMMITTED takes a new snapshot per statement). It is run again after a deadlock or serialization
   * failure, and once when the connection was lost before COMMIT was sent, or had lost a prepared statement: then nothing
   * was done.
   * @param locks keys of `pg_advisory_xact_lock`, taken in the order given
   * @param options.single the work is one statement, and COMMIT goes with it. When the connection is lost, nobody knows
   * whether it was carried out, and it is run again: it must notice that itself, which the locks make certain
   */
  transaction<T>(
    locks: readonly bigint[],
    work: (tx: Queryable) => Promise<T>,
    { single = false }: { single?: boolean } = {},
  ): Promise<T> {
    return this.#transactions.run(locks, work, single);
  }

  /** True when the pool reaches Postgres itself and not a transaction pooler: only then names and LISTEN mean anything. */
  isDirect(): Promise<boolean> {
    return this.#names.isDirect();
  }

  /** A client outside the pool with the pool's own settings, or for another URL. The caller connects and ends it. */
  dedicatedClient(url: string | null): Client {
    // The pool hides its password from enumeration; spreading loses it.
    const { options } = this.pool;
    const settings: ClientConfig =
      url === null
        ? { ...options, password: options.password }
        : { connectionString: url, ...(options.ssl === undefined ? {} : { ssl: options.ssl }) };
    return new this.postgres.Client({
      ...settings,
      keepAlive: true,
      connectionTimeoutMillis: this.options.databaseTimeout,
      query_timeout: this.options.databaseTimeout,
    });
  }

  #askUntilTold(question: Question, deadline: Deadline, told: Answered<readonly TextRow[]>): void {
    let sent = question;
    let lost = false;
    let conflicts = 0;
    const take: Answered<readonly TextRow[]> = (error, rows) => {
      if (error && sent.name !== undefined && isStaleStatement(error)) {
        sent = { ...sent, name: undefined };
        return this.#connections.ask(sent, deadline, take);
      }
      if (error && isConflict(error) && ++conflicts < CONFLICT_TRIES && deadline.left > 0)
        return this.#connections.ask(sent, deadline, take);
      if (error && !lost && isConnectionFault(error) && deadline.left > 0) {
        lost = true;
        return this.#connections.ask(sent, deadline, take);
      }
      if (error) return told(asOAuthError(error));
      try {
        told(null, rows);
      } catch (fault) {
        // Thrown to the driver, it would end the process.
        told(asOAuthError(fault));
      }
    };
    this.#connections.ask(sent, deadline, take);
  }
}
