// Transactions under advisory locks, run again where it is certain that nothing was done.
import type { PoolClient, QueryResultRow } from 'pg';
import type { Connections } from './connections.js';
import { Deadline } from './deadline.js';
import { asOAuthError, isConflict, isConnectionFault, isStaleStatement } from './faults.js';
import type { PreparedNames } from './prepared-names.js';
import type { Queryable } from './queryable.js';

/** Attempts of a transaction that hit a deadlock or serialization failure. */
const CONFLICT_ATTEMPTS = 3;

/** One run of a transaction. */
interface Transaction<T> {
  readonly locks: readonly bigint[];
  readonly work: (tx: Queryable) => Promise<T>;
  readonly deadline: Deadline;
  /** Whether statements may be prepared. */
  readonly named: boolean;
  /** Whether COMMIT goes with the first statement, which is the only one. */
  readonly single: boolean;
  readonly progress: Progress;
}

/** How far a run has come. */
interface Progress {
  /** BEGIN was sent, with the first statement. */
  begun: boolean;
  /** COMMIT was sent by itself: from then on, nobody knows what a lost connection means. */
  committing: boolean;
  /** COMMIT that went with the first statement was answered: nothing is left to be ended. */
  ended: boolean;
}

/** Runs transactions. */
export class Transactions {
  /** @param timeout of each statement; getting a connection, the locks and the first one share one. Milliseconds */
  constructor(
    private readonly connections: Connections,
    private readonly names: PreparedNames,
    private readonly timeout: number,
  ) {}

  /** @throws {OAuthError} @see Database.transaction */
  async run<T>(locks: readonly bigint[], work: (tx: Queryable) => Promise<T>, single: boolean): Promise<T> {
    const deadline = new Deadline(this.timeout);
    let lost = false;
    let named = true;
    for (let attempt = 1; ; attempt++) {
      const progress = { begun: false, committing: false, ended: false };
      try {
        return await this.connections.lend(deadline, (client) =>
          this.#once(client, { locks, work, deadline, named, single, progress }),
        );
      } catch (error) {
        if (isConflict(error) && attempt < CONFLICT_ATTEMPTS) continue;
        if (!lost && isConnectionFault(error) && (single || !progress.committing) && deadline.left > 0) {
          lost = true;
          continue;
        }
        // The next connection may have lost its statements as well: the second run prepares none, so there is no third.
        if (named && isStaleStatement(error)) {
          named = false;
          continue;
        }
        throw asOAuthError(error);
      }
    }
  }

  async #once<T>(client: PoolClient, transaction: Transaction<T>): Promise<T> {
    const { work, progress } = transaction;
    try {
      const result = await work(this.#over(client, transaction));
      if (!progress.begun || progress.ended) return result;
      progress.committing = true;
      await this.connections.send(client, { text: 'commit' }, this.timeout);
      return result;
    } catch (error) {
      if (progress.begun && !progress.ended && !isConnectionFault(error))
        await this.connections
          .send(client, { text: 'rollback' }, this.timeout)
          .catch(() => this.connections.giveUp(client));
      throw error;
    }
  }

  #over<T>(client: PoolClient, { locks, deadline, named, single, progress }: Transaction<T>): Queryable {
    return {
      query: async <Row extends QueryResultRow>(
        text: string,
        values: readonly unknown[] = [],
        { prepared }: { prepared?: boolean } = {},
      ) => {
        const statement = { text, values, name: named && prepared ? this.names.ifKnown(text) : undefined };
        if (progress.begun && single) throw new Error('a single statement was announced, and this is the second one');
        if (progress.begun) return (await this.connections.send<Row>(client, statement, this.timeout)).rows;
        progress.begun = true;
        const around = { locks, commits: single };
        const { rows } = await this.connections.open<Row>(client, around, statement, deadline.forStatement);
        progress.ended = single;
        return rows;
      },
    };
  }
}
