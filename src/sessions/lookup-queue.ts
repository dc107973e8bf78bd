// Questions that are answered together by one query.

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

  /** @param send answers a batch. Requests wait for this most, so it makes no promises */
  constructor(private readonly send: (batch: Asked[], done: Done) => void) {}

  /** True while nobody waits for an answer. */
  get isIdle(): boolean {
    return this.#inFlight === 0;
  }

  /** Puts a question into the next query, which {@link flush} sends. */
  add(asked: Asked): void {
    this.#waiting.push(asked);
  }

  /** Sends what was added, as far as there is room; the rest goes out as places come free. */
  flush(): void {
    while (this.#waiting.length > 0 && this.#inFlight < MAX_IN_FLIGHT) {
      this.#inFlight++;
      const batch = this.#waiting.splice(0, MAX_BATCH);
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
}
