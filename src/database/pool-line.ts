// Waiting for a connection of the pool, in bounds. pg's pool cannot be told that somebody has stopped waiting; without
// this, its queue would grow for as long as it is exhausted.
import type { Pool, PoolClient } from 'pg';
import type { Deadline } from './deadline.js';

/** Gets a connection, or the reason why there is none. */
type Use = (fault: Error | undefined, client?: PoolClient) => void;

/**
 * A connection that dies between two statements says so by an event, which nobody else listens to. The query under way, or
 * the next one, fails with the same error.
 */
function ignore(): void {}

/**
 * True where pg knows that the application gave a connection back in the middle of a transaction. What we read there could be
 * older than the end of a session, and what we write be undone with it.
 */
function isWithinTransaction(client: PoolClient & { getTransactionStatus?: () => string | null }): boolean {
  const status = client.getTransactionStatus?.();
  return status === 'T' || status === 'E';
}

/** Asks the pool. It is listened for faults from the very moment that the pool does not any more. */
function connect(pool: Pool, use: Use): void {
  pool.connect((fault, client) => {
    client?.on('error', ignore);
    use(fault, client);
  });
}

/** Gives out connections. */
export class PoolLine {
  /** Places in the pool's own queue whose owners gave up; whoever comes next takes one over. */
  readonly #abandoned = new Set<Promise<PoolClient>>();

  /** @param pool asked each time: it exists only once the DataSource is initialized */
  constructor(private readonly pool: () => Pool | undefined) {}

  /**
   * A connection before the deadline.
   * @throws {Error} when there is none in time, or the server refuses
   */
  take(deadline: Deadline): Promise<PoolClient> {
    return new Promise((resolve, reject) => {
      this.lend(deadline, (fault, client) => (client ? resolve(client) : reject(fault!)));
    });
  }

  /** Takes a connection back. @param destroyed it is of no use any more, and may still have something to say */
  giveBack(client: PoolClient, destroyed = false): void {
    if (!destroyed) client.removeListener('error', ignore);
    client.release(destroyed);
  }

  /** As {@link take}, and tells `use` once: who asks for every request makes fewer promises. */
  lend(deadline: Deadline, use: Use): void {
    const pool = this.pool();
    if (!pool) use(new Error('no connection: the DataSource is not initialized'));
    else if (this.#abandoned.size === 0 && pool.idleCount > pool.waitingCount) this.#atOnce(pool, deadline, use);
    else
      this.#inLine(pool, deadline).then(
        (client) => this.#hand(client, deadline, use),
        (fault: Error) => use(fault),
      );
  }

  async #inLine(pool: Pool, deadline: Deadline): Promise<PoolClient> {
    const place =
      this.#takeOver() ??
      new Promise<PoolClient>((resolve, reject) => {
        connect(pool, (fault, client) => (client ? resolve(client) : reject(fault!)));
      });
    let timer: NodeJS.Timeout | undefined;
    let late = false;
    const tooLate = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        late = true;
        reject(new Error('timeout exceeded while waiting for a connection of the pool'));
      }, deadline.left);
    });
    try {
      return await Promise.race([place, tooLate]);
    } finally {
      clearTimeout(timer);
      if (late) this.#abandon(place);
    }
  }

  /**
   * An idle connection that nobody waits for. It comes at once where the pool can be told to look now, and not after all
   * that this turn still does: then that goes on while the server works. Else it comes in this turn of the event loop, so
   * that no watch need be set; only a pool that is ended in the same turn serves nobody any more, and says so to nobody.
   */
  #atOnce(pool: Pool, deadline: Deadline, use: Use): void {
    let told = false;
    connect(pool, (fault, client) => {
      if (told) return client && this.giveBack(client);
      told = true;
      if (client) this.#hand(client, deadline, use);
      else use(fault);
    });
    if (pool.waitingCount === 1) (pool as Pulsing)._pulseQueue?.();
    if (told) return;
    process.nextTick(() => {
      if (told || !pool.ending) return;
      told = true;
      use(new Error('Cannot use a pool after calling end on the pool'));
    });
  }

  /** Hands out a connection; in place of one that is within a transaction, the next. */
  #hand(client: PoolClient, deadline: Deadline, use: Use): void {
    if (!isWithinTransaction(client)) return use(undefined, client);
    this.giveBack(client, true);
    this.lend(deadline, use);
  }

  #takeOver(): Promise<PoolClient> | undefined {
    const [place] = this.#abandoned;
    if (place) this.#abandoned.delete(place);
    return place;
  }

  /** A connection that comes after all, and that nobody has taken over, goes straight back. */
  #abandon(place: Promise<PoolClient>): void {
    this.#abandoned.add(place);
    place.then(
      (client) => {
        if (this.#abandoned.delete(place)) this.giveBack(client);
      },
      () => this.#abandoned.delete(place),
    );
  }
}

/** A pool that can be told to serve whoever waits. */
type Pulsing = Pool & { _pulseQueue?: () => void };
