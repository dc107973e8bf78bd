// Fresh lookups, coalesced: while the database is being asked, all sessions asked for in one turn of the event loop go out
// together. A session that was read before is only checked. With the coherent cache on, what is certain is answered from memory.
import { Injectable } from '@nestjs/common';
import { sha256Base64 } from '../crypto/digest.js';
import { ResolvedOptions } from '../options/resolve-options.js';
import { KnownSessions } from './known-sessions.service.js';
import { type Done, LookupQueue, type Waiter } from './lookup-queue.js';
import { type Alive, LookupRepository } from './lookup.repository.js';
import { type LookupTicket, SessionCache } from './session-cache.service.js';
import { type FoundSession, foundIn, type SessionRow } from './session-record.js';
import { Turn } from './turn.js';

/** The database is asked for its time once in so long; meanwhile it is counted on. Milliseconds. */
const CLOCK_INTERVAL = 1_000;

/** Somebody who asked in this turn. */
interface Question {
  readonly token: string;
  readonly resolve: (found: FoundSession | null) => void;
  readonly reject: (error: unknown) => void;
}

type Reading = Waiter<FoundSession | null>;

/** A question about a session that was read before. */
interface Checking extends Reading {
  readonly known: FoundSession;
}

/** Looks sessions up in the database, many at a time. */
@Injectable()
export class SessionLookup {
  readonly #turn = new Turn<Question>((questions) => this.#begin(questions));
  readonly #reading = new LookupQueue<Reading>(
    (batch, done) => this.#read(batch, done),
    () => this.options.databaseTimeout,
  );
  readonly #checking = new LookupQueue<Checking>(
    (batch, done) => this.#check(batch, done),
    () => this.options.databaseTimeout,
  );
  /** As {@link FoundSession.clock}, by the last check that brought the time. */
  #clock = 0;
  /** When that was sent, monotonic milliseconds. */
  #clockedAt = -Infinity;

  constructor(
    private readonly lookups: LookupRepository,
    private readonly cache: SessionCache,
    private readonly known: KnownSessions,
    private readonly options: ResolvedOptions,
  ) {}

  /**
   * What `use` makes of the live session of a cookie value, or of null. The question is never answered by a query that was
   * sent before it. `use` is called among those of other requests, so nothing of the application's may be called in it: it
   * would see another request's `AsyncLocalStorage`. What is awaited goes on in its own.
   * @throws {OAuthError} `database_unavailable`: a failing query fails its whole batch, closed; and what `use` throws
   */
  find<T>(token: string, use: (found: FoundSession | null) => T | Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const question = { token, resolve: answering({ use, resolve, reject }), reject };
      if (this.#isQuiet) this.#begin([question]);
      else this.#turn.add(question);
    });
  }

  /** A live session by its id, past the cache. @throws {OAuthError} `database_unavailable` */
  async findById(id: string): Promise<FoundSession | null> {
    const asOf = performance.now();
    const [row] = await this.lookups.findLiveById(id);
    return row ? foundIn(row, asOf) : null;
  }

  /** Nobody else is being answered by the database: waiting for the end of the turn would be in vain, most likely. */
  get #isQuiet(): boolean {
    return this.cache.size === 0 && this.#turn.isEmpty && this.#checking.isIdle && this.#reading.isIdle;
  }

  #begin(questions: readonly Question[]): void {
    const since = performance.now();
    for (const { token, resolve, reject } of questions) {
      try {
        const key = sha256Base64(token);
        const certain = this.cache.get(key);
        const known = certain ? undefined : this.known.get(key);
        if (certain) resolve(certain);
        else if (known) this.#checking.add({ key, since, resolve, reject, known });
        else this.#reading.add({ key, since, resolve, reject });
      } catch (error) {
        // Nobody is let in by a fault, and nobody else is kept waiting by it.
        reject(error);
      }
    }
    this.#checking.flush();
    this.#reading.flush();
  }

  #check(batch: readonly Checking[], done: Done): void {
    const asOf = performance.now();
    const given = { within: this.#left(batch, asOf), timed: asOf - this.#clockedAt > CLOCK_INTERVAL };
    this.lookups.check(keysOf(batch), given, (error, alive) => {
      if (alive) this.#admit(batch, alive, asOf);
      done(error ?? undefined);
    });
  }

  #admit(batch: readonly Checking[], { now, versions }: Alive, asOf: number): void {
    if (now !== undefined) {
      this.#clock = now - asOf;
      this.#clockedAt = asOf;
    }
    let number = 0;
    for (const asked of batch) {
      const version = versions[number++];
      if (version === asked.known.version) {
        asked.known.clock = this.#clock;
        asked.resolve(asked.known);
      } else {
        this.known.forget(asked.key);
        if (version === undefined) asked.resolve(null);
        else this.#reading.add(asked);
      }
    }
    this.#reading.flush();
  }

  #read(batch: readonly Reading[], done: Done): void {
    const ticket = this.cache.open();
    const asOf = performance.now();
    this.lookups.findLive(keysOf(batch), this.#left(batch, asOf), (error, rows) => {
      if (rows) this.#keep(batch, rows, { ticket, asOf });
      this.cache.close(ticket);
      done(error ?? undefined);
    });
  }

  #keep(
    batch: readonly Reading[],
    rows: readonly SessionRow[],
    { ticket, asOf }: { ticket: LookupTicket | null; asOf: number },
  ): void {
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

/** Whoever throws while taking an answer hears of it; the others of the same turn do not. */
function answering<T>({
  use,
  resolve,
  reject,
}: {
  use: (found: FoundSession | null) => T | Promise<T>;
  resolve: (value: T | Promise<T>) => void;
  reject: (error: unknown) => void;
}): Question['resolve'] {
  return (found) => {
    try {
      resolve(use(found));
    } catch (error) {
      reject(error);
    }
  };
}
