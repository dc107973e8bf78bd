// Questions that are answered together by one query.
import { OAuthError } from '../errors/oauth-error.js';

/** Most questions in one query: small enough that one batch is read while the next is being looked up. */
const MAX_BATCH = 32;
/** Most queries at once, of each kind (reading and checking): more would only make the batches smaller, and take the pool's connections from others. */
const MAX_IN_FLIGHT = 3;

/** Somebody who asked. */
export interface Waiter<Answer> {
  /** Hash of the cookie's value, base64. */
  readonly key: string;
  /** Monotonic milliseconds. */
  readonly since: number;
  /** Takes the answer. It must not throw: others wait for theirs. */
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: unknown) => void;
}

/** Told once a batch is answered; with an error, whoever has no answer by then fails with it. */
export type Done = (error?: unknown) => void;

/** Sends what was asked in batches. A question never joins a query that was already sent. */
export class LookupQueue<Asked extends Waiter<never>> {
  #waiting: Asked[] = [];
  #inFlight = 0;

  /**
   * @param send answers a batch. Requests wait for this most, so it makes no promises
   * @param patience milliseconds for which a question may be kept back; asked when it is needed
   */
  constructor(
    private readonly send: (batch: Asked[], done: Done) => void,
    private readonly patience: () => number,
  ) {}

  /** True while nobody waits for an answer. */
  get isIdle(): boolean {
    return this.#inFlight === 0;
  }

  /** Puts a question into the next query, which {@link flush} sends. */
  add(asked: Asked): void {
    this.#waiting.push(asked);
  }

  /**
   * Sends what was added, as far as there is room; the rest goes out as places come free. Who was kept back for too long
   * fails: where more is asked than the database answers, the queue would grow, and everybody wait longer than the one before.
   */
  flush(): void {
    while (this.#waiting.length > 0 && this.#inFlight < MAX_IN_FLIGHT) {
      const batch = this.#inTime(this.#waiting.splice(0, MAX_BATCH));
      if (batch.length === 0) continue;
      this.#inFlight++;
      const done: Done = (error) => {
        if (error !== undefined) for (const asked of batch) asked.reject(error);
        this.#inFlight--;
        // What came meanwhile was kept back: it goes out now, as one query.
        this.flush();
      };
      try {
        this.send(batch, done);
      } catch (fault) {
        done(fault);
      }
    }
  }

  #inTime(asked: Asked[]): Asked[] {
    const earliest = performance.now() - this.patience();
    const isLate = ({ since }: Asked): boolean => since < earliest;
    if (!asked.some(isLate)) return asked;
    const cause = new Error('timeout exceeded while waiting for a lookup');
    for (const late of asked.filter(isLate)) late.reject(new OAuthError('database_unavailable', { cause }));
    return asked.filter((each) => !isLate(each));
  }
}
