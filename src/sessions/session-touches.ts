// Sliding expiry, written behind: touches are gathered and written in one statement at intervals.
import { Injectable, Logger, type OnApplicationShutdown } from '@nestjs/common';
import { ResolvedOptions } from '../options/resolve-options.js';
import { databaseNow, type FoundSession, takeTouched } from './session-record.js';
import { SessionRepository } from './session.repository.js';

/** Most touches in one statement. */
const MAX_BATCH = 1_000;

/** A use of a session that is to be written down. */
interface Noted {
  readonly found: FoundSession;
  /** Milliseconds since the epoch, by the database clock. */
  readonly at: number;
  /** There is little idle time left. */
  readonly urgent: boolean;
}

/** Gathers the times at which sessions were seen. */
@Injectable()
export class SessionTouches implements OnApplicationShutdown {
  readonly #logger = new Logger('OAuth');
  readonly #seen = new Map<string, Noted>();
  /** Being written: until that is done, lookups still say that these are due. */
  readonly #onTheWay = new Set<string>();
  /** Milliseconds. */
  readonly #interval: number;
  #timer: NodeJS.Timeout | undefined;
  #writing: Promise<void> = Promise.resolve();

  constructor(
    private readonly sessions: SessionRepository,
    private readonly options: ResolvedOptions,
  ) {
    this.#interval = options.session.touchInterval * 1000;
  }

  /** Notes that a session was used, at the database time of its lookup (or, from the cache, counted on from it). */
  note(found: FoundSession): void {
    const now = databaseNow(found);
    const interval = this.#interval;
    if (now - found.seenAt < interval) return;
    const { record } = found;
    if (this.#seen.has(record.id) || this.#onTheWay.has(record.id)) return;
    // With little idle time left there is none to wait for the next round.
    const urgent = record.idle_expires_at - now < 2 * interval;
    this.#seen.set(record.id, { found, at: now, urgent });
    if (urgent || this.#seen.size >= MAX_BATCH) void this.flush();
    else this.#timer ??= setTimeout(() => void this.flush(), interval).unref();
  }

  /** Writes what was gathered. Failures are logged: the touches are lost, the sessions are not, and are due at their next use. */
  flush(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const touches = [...this.#seen.values()];
    this.#seen.clear();
    for (const { found } of touches) this.#onTheWay.add(found.record.id);
    this.#writing = this.#writing
      .then(async () => {
        for (let start = 0; start < touches.length; start += MAX_BATCH) {
          const batch = touches.slice(start, start + MAX_BATCH);
          const touched = await this.sessions.touch(
            batch.map(({ found, at }) => ({ id: found.record.id, seen: new Date(at) })),
            this.options.session.idleTimeout,
          );
          const written = new Map(touched.map((row) => [row.id, row]));
          for (const { found, at, urgent } of batch) {
            const row = written.get(found.record.id);
            // What stays in memory is not read again for it. Rows that somebody holds are passed over; what is urgent stays
            // due until it is written.
            if (row || !urgent) found.seenAt = at;
            if (row) takeTouched(found, row);
          }
        }
      })
      .catch((error: unknown) => {
        this.#logger.warn(
          `touches of ${touches.length} sessions could not be written: ${error instanceof Error ? error.message : 'unknown error'}`,
        );
      })
      .finally(() => {
        for (const { found } of touches) this.#onTheWay.delete(found.record.id);
      });
    return this.#writing;
  }

  /** Writes the last touches before the pool closes. */
  async onApplicationShutdown(): Promise<void> {
    await this.flush();
  }
}
