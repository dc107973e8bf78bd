// The application's own pool, with bounded waits. Every statement of every repository goes through here.
import { createHash } from 'node:crypto';
import { Inject, Injectable, type OnApplicationBootstrap } from '@nestjs/common';
import type pg from 'pg';
import type { Client, ClientConfig, Pool, PoolClient, QueryResult, QueryResultRow } from 'pg';
import type { DataSource } from 'typeorm';
import { ResolvedOptions } from '../options/resolve-options.js';
import type { Answered } from './answer-watch.js';
import { asOAuthError, isConflict, isConnectionFault } from './faults.js';
import { boundConnecting, Deadline, PoolLine } from './pool-line.js';
import { type Question, Sender, type Statement } from './sender.js';
import type { TextRow } from './text-query.js';

/** Injection token of the DataSource that the `dataSource` option names. */
export const OAUTH_DATA_SOURCE = Symbol('OAUTH_DATA_SOURCE');

/** Runs statements; a {@link Database} or one open transaction. */
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
  /** Milliseconds that are left for it, of the `databaseTimeout` that it had to begin with. @defaultValue all of them */
  within?: number;
  /** Sent as a prepared statement where the connection is known to be direct. @defaultValue false */
  prepared?: boolean;
}

/** Attempts of a transaction that hit a deadlock or serialization failure. */
const CONFLICT_ATTEMPTS = 3;

/** Whatever the default of the database is: in another level, the lock's own statement would fix what all later ones see. */
const BEGIN = 'begin isolation level read committed';

/** One run of a transaction. */
interface Transaction<T> {
  readonly locks: readonly bigint[];
  readonly work: (tx: Queryable) => Promise<T>;
  readonly deadline: Deadline;
  /** Whether COMMIT was sent: from then on, nobody knows what a lost connection means. */
  readonly progress: { committing: boolean };
}

/** Access to Postgres over the pool of the application's DataSource. Throws {@link OAuthError} only. */
@Injectable()
export class Database implements Queryable, OnApplicationBootstrap {
  #direct: Promise<boolean> | undefined;
  /** Answered, and with yes: a transaction may not ask, for it would need a second connection. */
  #known = false;
  readonly #names = new Map<string, string>();
  readonly #sender = new Sender(() => this.postgres);
  /** Clients whose transaction could not be ended. */
  readonly #broken = new WeakSet<PoolClient>();
  readonly #line = new PoolLine(() => this.pool);

  constructor(
    @Inject(OAUTH_DATA_SOURCE) private readonly dataSource: DataSource,
    private readonly options: ResolvedOptions,
  ) {}

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

  /** Runs one statement outside a transaction. All of it, a second try included, has one `databaseTimeout`. */
  async query<Row extends QueryResultRow>(
    text: string,
    values: readonly unknown[] = [],
    options: QueryOptions = {},
  ): Promise<Row[]> {
    const deadline = this.#deadline(options.within);
    const name = options.prepared ? (this.#known ? this.#nameOf(text) : await this.statementName(text)) : undefined;
    for (let attempt = 0; ; attempt++) {
      try {
        return await this.#once<Row>({ text, values, name }, deadline);
      } catch (error) {
        if (options.retry && attempt === 0 && isConnectionFault(error) && deadline.left > 0) continue;
        throw asOAuthError(error);
      }
    }
  }

  /**
   * Asks for rows of texts by a statement that only reads: prepared where the connection is known to be direct, and sent
   * once more on a lost connection. Requests wait for this most, so it makes no promises.
   * @param within milliseconds that are left for it, of its `databaseTimeout`
   * @param told takes the rows, or an {@link OAuthError}; what it throws over rows it is told in turn
   */
  ask(text: string, values: readonly (string | Buffer)[], within: number, told: Answered<readonly TextRow[]>): void {
    const deadline = this.#deadline(within);
    if (this.#known) this.#askTwice({ text, values, name: this.#nameOf(text) }, deadline, told);
    else void this.statementName(text).then((name) => this.#askTwice({ text, values, name }, deadline, told));
  }

  /**
   * Runs a transaction. The advisory locks are taken together with BEGIN, in one round trip, so that later statements
   * judge under them (READ COMMITTED takes a new snapshot per statement). It is run again after a deadlock or
   * serialization failure, and once when the connection was lost before COMMIT was sent: then nothing was done.
   * @param locks keys of `pg_advisory_xact_lock`, taken in the order given
   */
  async transaction<T>(locks: readonly bigint[], work: (tx: Queryable) => Promise<T>): Promise<T> {
    const deadline = this.#deadline();
    let lost = false;
    for (let attempt = 1; ; attempt++) {
      const progress = { committing: false };
      try {
        return await this.withClient(deadline, (client) => this.transact(client, { locks, work, deadline, progress }));
      } catch (error) {
        if (isConflict(error) && attempt < CONFLICT_ATTEMPTS) continue;
        if (!lost && isConnectionFault(error) && !progress.committing && deadline.left > 0) {
          lost = true;
          continue;
        }
        throw asOAuthError(error);
      }
    }
  }

  /** True when the pool reaches Postgres itself and not a transaction pooler: only then names and LISTEN mean anything. */
  async isDirect(): Promise<boolean> {
    const deadline = this.#deadline();
    this.#direct ??= this.withClient(deadline, async (client) => {
      const statement = { text: 'select pg_backend_pid() as pid' };
      const { rows } = await this.send<{ pid: number }>(client, statement, deadline.forStatement);
      this.#known = rows[0]?.pid === (client as PoolClient & { processID?: number }).processID;
      return this.#known;
    }).catch((error: unknown) => {
      this.#direct = undefined;
      throw error;
    });
    return this.#direct;
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

  private async transact<T>(client: PoolClient, { locks, work, deadline, progress }: Transaction<T>): Promise<T> {
    const take = locks.map((key) => `; select pg_advisory_xact_lock(${key})`).join('');
    try {
      // Getting a connection and beginning share one allowance; from here on the server has shown that it lives.
      await this.send(client, { text: `${BEGIN}${take}` }, deadline.forStatement);
      const tx: Queryable = {
        query: async <Row extends QueryResultRow>(
          text: string,
          values: readonly unknown[] = [],
          { prepared }: Pick<QueryOptions, 'prepared'> = {},
        ) => {
          const name = prepared && this.#known ? this.#nameOf(text) : undefined;
          return (await this.send<Row>(client, { text, values, name })).rows;
        },
      };
      const result = await work(tx);
      progress.committing = true;
      await this.send(client, { text: 'commit' });
      return result;
    } catch (error) {
      if (!isConnectionFault(error))
        await this.send(client, { text: 'rollback' }).catch(() => this.#broken.add(client));
      throw error;
    }
  }

  #askTwice(question: Question, deadline: Deadline, told: Answered<readonly TextRow[]>): void {
    let again = true;
    const take: Answered<readonly TextRow[]> = (error, rows) => {
      if (error && again && isConnectionFault(error) && deadline.left > 0) {
        again = false;
        return this.#askOnce(question, deadline, take);
      }
      if (error) return told(asOAuthError(error));
      try {
        told(null, rows);
      } catch (fault) {
        // Thrown to the driver, it would end the process.
        told(asOAuthError(fault));
      }
    };
    this.#askOnce(question, deadline, take);
  }

  #askOnce(question: Question, deadline: Deadline, done: Answered<readonly TextRow[]>): void {
    this.#line.lend(deadline, (fault, client) => {
      if (!client) return done(fault);
      // What is left is left after the wait for the connection.
      this.#sender.ask(client, question, deadline.forStatement, (error, rows) => {
        this.#giveBack(client, error);
        done(error, rows);
      });
    });
  }

  /** One statement over a connection of its own: it makes one promise, not one for each step. */
  #once<Row extends QueryResultRow>(statement: Statement, deadline: Deadline): Promise<Row[]> {
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

  /** One statement of several over the same connection. @param timeout milliseconds */
  private send<Row extends QueryResultRow>(
    client: PoolClient,
    statement: Statement,
    timeout = this.options.databaseTimeout,
  ): Promise<QueryResult<Row>> {
    return new Promise((resolve, reject) => {
      this.#sender.send<Row>(client, statement, timeout, (error, result) => (error ? reject(error) : resolve(result!)));
    });
  }

  private async withClient<T>(deadline: Deadline, work: (client: PoolClient) => Promise<T>): Promise<T> {
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

  /** A connection that failed or is still busy with a timed-out statement must not go back to the pool. */
  #giveBack(client: PoolClient, fault: unknown): void {
    const destroyed = this.#broken.has(client) || (Boolean(fault) && isConnectionFault(fault));
    this.#line.giveBack(client, destroyed);
  }

  #deadline(within = this.options.databaseTimeout): Deadline {
    return new Deadline(this.options.databaseTimeout, within);
  }

  /** Names carry a hash of their SQL: two versions of this package on one database never share a name. */
  private async statementName(text: string): Promise<string | undefined> {
    if (!(await this.isDirect().catch(() => false))) return undefined;
    return this.#nameOf(text);
  }

  #nameOf(text: string): string {
    let name = this.#names.get(text);
    if (!name) {
      name = `oauth_${createHash('sha256').update(text).digest('hex').slice(0, 16)}`;
      this.#names.set(text, name);
    }
    return name;
  }
}
