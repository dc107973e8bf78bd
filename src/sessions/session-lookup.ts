// Fresh lookups, coalesced: all sessions asked for in one turn of the event loop go out as one query. With the coherent
// cache on, what is certain is answered from memory.
import { Injectable } from '@nestjs/common';
import { sha256 } from '../crypto/digest.js';
import type { FoundSession, SessionRecord } from './oauth-session.js';
import { SessionCache } from './session-cache.service.js';
import { SessionRepository } from './session.repository.js';

/** Most sessions in one query. */
const MAX_BATCH = 256;
/** Most queries at once: more would only make the batches smaller, and take the pool's connections from others. */
const MAX_IN_FLIGHT = 3;

interface Waiter {
  hash: Buffer;
  key: string;
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
  ) {}

  /**
   * The live session of a cookie value, or null. The question is never answered by a query that was sent before it.
   * @returns at once where the cache is certain
   * @throws {OAuthError} `database_unavailable`: a failing query fails its whole batch, closed
   */
  find(token: string): FoundSession | Promise<FoundSession | null> {
    const hash = sha256(token);
    const key = hash.toString('latin1');
    return this.cache.get(key) ?? this.#ask(hash, key);
  }

  #ask(hash: Buffer, key: string): Promise<FoundSession | null> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ hash, key, resolve, reject });
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
      const records = await this.sessions.findLive(batch.map((waiter) => waiter.hash));
      const byKey = new Map<string, SessionRecord>();
      for (const record of records) byKey.set(record.token_hash.toString('latin1'), record);
      for (const { key, resolve } of batch) {
        const record = byKey.get(key);
        if (record) this.cache.store(ticket, key, record);
        resolve(record ? { record, asOf } : null);
      }
    } catch (error) {
      for (const waiter of batch) waiter.reject(error);
    } finally {
      this.cache.close(ticket);
    }
  }
}
