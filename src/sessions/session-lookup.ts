// Fresh lookups, coalesced: all sessions asked for in one turn of the event loop go out as one query. With the coherent
// cache on, what is certain is answered from memory.
import { Injectable } from '@nestjs/common';
import { sha256Base64 } from '../crypto/digest.js';
import { ResolvedOptions } from '../options/resolve-options.js';
import { SessionCache } from './session-cache.service.js';
import { type FoundSession, foundIn } from './session-record.js';
import { SessionRepository } from './session.repository.js';

/** Most sessions in one query: small enough that one batch is read while the next is being looked up. */
const MAX_BATCH = 32;
/** Most queries at once: more would only make the batches smaller, and take the pool's connections from others. */
const MAX_IN_FLIGHT = 3;

interface Waiter {
  /** Hash of the cookie's value, base64. */
  key: string;
  /** Monotonic milliseconds. */
  since: number;
  resolve: (found: FoundSession | null) => void;
  reject: (error: unknown) => void;
}

/** Looks sessions up in the database, many at a time. */
@Injectable()
export class SessionLookup {
  #waiting: Waiter[] = [];
  #scheduled = false;
  #inFlight = 0;

  constructor(
    private readonly sessions: SessionRepository,
    private readonly cache: SessionCache,
    private readonly options: ResolvedOptions,
  ) {}

  /**
   * The live session of a cookie value, or null. The question is never answered by a query that was sent before it.
   * @returns at once where the cache is certain
   * @throws {OAuthError} `database_unavailable`: a failing query fails its whole batch, closed
   */
  find(token: string): FoundSession | Promise<FoundSession | null> {
    const key = sha256Base64(token);
    return this.cache.get(key) ?? this.#ask(key);
  }

  /** A live session by its id, past the cache. @throws {OAuthError} `database_unavailable` */
  async findById(id: string): Promise<FoundSession | null> {
    const asOf = performance.now();
    const [row] = await this.sessions.findLiveById(id);
    return row ? foundIn(row, asOf) : null;
  }

  #ask(key: string): Promise<FoundSession | null> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ key, since: performance.now(), resolve, reject });
      if (this.#scheduled) return;
      this.#scheduled = true;
      // Runs after all sockets that are readable in this turn were handled.
      setImmediate(() => this.#flush());
    });
  }

  #flush(): void {
    this.#scheduled = false;
    while (this.#waiting.length > 0 && this.#inFlight < MAX_IN_FLIGHT) {
      this.#inFlight++;
      void this.#send(this.#waiting.splice(0, MAX_BATCH)).finally(() => {
        this.#inFlight--;
        // What came meanwhile was kept back: it goes out now, as one query.
        if (this.#waiting.length > 0 && !this.#scheduled) this.#flush();
      });
    }
  }

  async #send(batch: Waiter[]): Promise<void> {
    const ticket = this.cache.open();
    const asOf = performance.now();
    try {
      // Who was kept back waits no longer for it in all than anybody else.
      const within = this.options.databaseTimeout - (asOf - batch[0]!.since);
      const rows = await this.sessions.findLive(
        batch.map((waiter) => waiter.key),
        within,
      );
      const found = new Map<string, FoundSession>();
      for (const row of rows) found.set(row[0], foundIn(row, asOf));
      for (const { key, resolve } of batch) {
        const session = found.get(key) ?? null;
        if (session) this.cache.store(ticket, key, session);
        resolve(session);
      }
    } catch (error) {
      for (const waiter of batch) waiter.reject(error);
    } finally {
      this.cache.close(ticket);
    }
  }
}
