// Fresh lookups, coalesced: all sessions asked for in one turn of the event loop go out as one query. A session that was
// read before is only checked. With the coherent cache on, what is certain is answered from memory.
import { Injectable } from '@nestjs/common';
import { sha256Base64 } from '../crypto/digest.js';
import { ResolvedOptions } from '../options/resolve-options.js';
import { KnownSessions } from './known-sessions.service.js';
import { LookupQueue, type Waiter } from './lookup-queue.js';
import { SessionCache } from './session-cache.service.js';
import { type FoundSession, foundIn } from './session-record.js';
import { SessionRepository } from './session.repository.js';

type Reading = Waiter<FoundSession | null>;

/** A question about a session that was read before. */
interface Checking extends Reading {
  readonly known: FoundSession;
}

/** Looks sessions up in the database, many at a time. */
@Injectable()
export class SessionLookup {
  readonly #reading = new LookupQueue<Reading>((batch) => this.#read(batch));
  readonly #checking = new LookupQueue<Checking>((batch) => this.#check(batch));

  constructor(
    private readonly sessions: SessionRepository,
    private readonly cache: SessionCache,
    private readonly known: KnownSessions,
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
      const since = performance.now();
      const known = this.known.get(key);
      if (known) this.#checking.add({ key, since, resolve, reject, known });
      else this.#reading.add({ key, since, resolve, reject });
    });
  }

  async #check(batch: Checking[]): Promise<void> {
    const asOf = performance.now();
    const { now, versions } = await this.sessions.check(keysOf(batch), this.#left(batch, asOf));
    for (const asked of batch) {
      const version = versions.get(asked.key);
      if (version === asked.known.version) {
        asked.known.clock = now - asOf;
        asked.resolve(asked.known);
      } else {
        this.known.forget(asked.key);
        if (version === undefined) asked.resolve(null);
        else this.#reading.add(asked);
      }
    }
  }

  async #read(batch: Reading[]): Promise<void> {
    const ticket = this.cache.open();
    const asOf = performance.now();
    try {
      const rows = await this.sessions.findLive(keysOf(batch), this.#left(batch, asOf));
      const found = new Map<string, FoundSession>();
      for (const row of rows) found.set(row[0], foundIn(row, asOf));
      for (const { key, resolve } of batch) {
        const session = found.get(key) ?? null;
        if (session) {
          this.cache.store(ticket, key, session);
          this.known.set(key, session, asOf);
        }
        resolve(session);
      }
    } finally {
      this.cache.close(ticket);
    }
  }

  /** Who was kept back waits no longer for it in all than anybody else. Milliseconds. */
  #left(batch: readonly Reading[], at: number): number {
    const longest = batch.reduce((since, asked) => Math.min(since, asked.since), at);
    return this.options.databaseTimeout - (at - longest);
  }
}

function keysOf(batch: readonly Reading[]): string[] {
  return batch.map((asked) => asked.key);
}
