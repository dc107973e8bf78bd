// Fresh lookups, coalesced: all sessions asked for in one turn of the event loop go out as one query.
import { Injectable } from '@nestjs/common';
import { sha256 } from '../crypto/digest.js';
import type { SessionRecord } from './oauth-session.js';
import { SessionRepository } from './session.repository.js';

/** Most sessions in one query. */
const MAX_BATCH = 256;

interface Waiter {
  hash: Buffer;
  resolve: (record: SessionRecord | null) => void;
  reject: (error: unknown) => void;
}

/** Looks sessions up in the database, many at a time. */
@Injectable()
export class SessionLookup {
  #waiting: Waiter[] = [];
  #scheduled = false;

  constructor(private readonly sessions: SessionRepository) {}

  /**
   * The live session of a cookie value, or null. The question is never answered by a query that was sent before it.
   * @throws {OAuthError} `database_unavailable`: a failing query fails its whole batch, closed
   */
  find(token: string): Promise<SessionRecord | null> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ hash: sha256(token), resolve, reject });
      if (this.#scheduled) return;
      this.#scheduled = true;
      // Runs after all sockets that are readable in this turn were handled.
      setImmediate(() => this.#flush());
    });
  }

  #flush(): void {
    this.#scheduled = false;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (let start = 0; start < waiting.length; start += MAX_BATCH)
      void this.#ask(waiting.slice(start, start + MAX_BATCH));
  }

  async #ask(batch: Waiter[]): Promise<void> {
    try {
      const records = await this.sessions.findLive(batch.map((waiter) => waiter.hash));
      const byHash = new Map(records.map((record) => [record.token_hash.toString('latin1'), record]));
      for (const waiter of batch) waiter.resolve(byHash.get(waiter.hash.toString('latin1')) ?? null);
    } catch (error) {
      for (const waiter of batch) waiter.reject(error);
    }
  }
}
