// Transactions under advisory locks, run again where it is certain that nothing was done.
import type { PoolClient, QueryResultRow } from 'pg';
import type { Connections } from './connections.js';
import { Deadline } from './deadline.js';
import { asOAuthError, isConflict, isConnectionFault, isStaleStatement } from './faults.js';
import type { PreparedNames } from './prepared-names.js';
import type { Queryable } from './queryable.js';

/** Attempts of a transaction that hit a deadlock or serialization failure. */
const CONFLICT_ATTEMPTS = 3;

/** Whatever the default of the database is: in another level, the lock's own statement would fix what all later ones see. */
const BEGIN = 'begin isolation level read committed';

/** One run of a transaction. */
interface Transaction<T> {
  readonly locks: readonly bigint[];
  readonly work: (tx: Queryable) => Promise<T>;
  readonly deadline: Deadline;
  /** Whether statements may be prepared. */
  readonly named: boolean;
  /** Whether COMMIT was sent: from then on, nobody knows what a lost connection means. */
  readonly progress: { committing: boolean };
}

/** Runs transactions. */
export class Transactions {
  /** @param timeout of each statement, and of getting a connection together with BEGIN; milliseconds */
  constructor(
    private readonly connections: Connections,
    private readonly names: PreparedNames,
    private readonly timeout: number,
  ) {}

  /** @throws {OAuthError} @see Database.transaction */
  async run<T>(locks: readonly bigint[], work: (tx: Queryable) => Promise<T>): Promise<T> {
    const deadline = new Deadline(this.timeout);
    let lost = false;
    let named = true;
    for (let attempt = 1; ; attempt++) {
      const progress = { committing: false };
      try {
        return await this.connections.lend(deadline, (client) =>
          this.#once(client, { locks, work, deadline, named, progress }),
        );
      } catch (error) {
        if (isConflict(error) && attempt < CONFLICT_ATTEMPTS) continue;
        if (!lost && isConnectionFault(error) && !progress.committing && deadline.left > 0) {
          lost = true;
          continue;
        }
        // The next connection may have lost its statements as well: the second run prepares none, so there is no third.
        if (named && isStaleStatement(error) && !progress.committing) {
          named = false;
          continue;
        }
        throw asOAuthError(error);
      }
    }
  }

  async #once<T>(client: PoolClient, { locks, work, deadline, named, progress }: Transaction<T>): Promise<T> {
    const take = locks.map((key) => `; select pg_advisory_xact_lock(${key})`).join('');
    try {
      // Getting a connection and beginning share one allowance; from here on the server has shown that it lives.
      await this.connections.send(client, { text: `${BEGIN}${take}` }, deadline.forStatement);
      const result = await work(this.#over(client, named));
      progress.committing = true;
      await this.connections.send(client, { text: 'commit' }, this.timeout);
      return result;
    } catch (error) {
      if (!isConnectionFault(error))
        await this.connections
          .send(client, { text: 'rollback' }, this.timeout)
          .catch(() => this.connections.giveUp(client));
      throw error;
    }
  }

  #over(client: PoolClient, named: boolean): Queryable {
    return {
      query: async <Row extends QueryResultRow>(
        text: string,
        values: readonly unknown[] = [],
        { prepared }: { prepared?: boolean } = {},
      ) => {
        const name = named && prepared ? this.names.ifKnown(text) : undefined;
        return (await this.connections.send<Row>(client, { text, values, name }, this.timeout)).rows;
      },
    };
  }
}
