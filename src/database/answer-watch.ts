// Ends the wait for answers that do not come. A timer for each statement, set and taken away again, costs a request that is
// alone a tenth of its time (pg's `query_timeout` does that); here one timer looks after all of them.

/** Takes an answer, or the reason why there is none. */
export type Answered<T> = (error: Error | null | undefined, answer?: T) => void;

interface Wait {
  /** Monotonic milliseconds. */
  readonly end: number;
  readonly late: () => void;
}

/** Watches over statements under way. */
export class AnswerWatch {
  readonly #waits = new Set<Wait>();
  #timer: NodeJS.Timeout | undefined;
  /** When the timer looks, monotonic milliseconds: never after the first of the ends. */
  #next = Infinity;

  /**
   * Begins a wait. What it returns is to be called with the answer; `done` is called once, with that or, when the time is
   * up, with an error. Whatever comes after is ignored.
   * @param timeout milliseconds
   */
  begin<T>(timeout: number, done: Answered<T>): Answered<T> {
    const take: Answered<T> = (error, answer) => {
      if (this.#waits.delete(wait)) done(error, answer);
    };
    const wait = { end: performance.now() + timeout, late: () => take(new Error('query read timeout')) };
    this.#waits.add(wait);
    if (wait.end < this.#next) this.#lookAt(wait.end);
    return take;
  }

  #lookAt(time: number): void {
    clearTimeout(this.#timer);
    this.#next = time;
    // Whoever waits holds a connection, which keeps the process alive; an old timer must not.
    this.#timer = setTimeout(() => this.#look(), Math.ceil(time - performance.now())).unref();
  }

  /** The timer was set for a statement that was answered, most likely; it is set anew only while others wait. */
  #look(): void {
    this.#next = Infinity;
    const now = performance.now();
    let first = Infinity;
    for (const { end, late } of this.#waits) {
      if (end <= now) late();
      else first = Math.min(first, end);
    }
    if (first < this.#next) this.#lookAt(first);
  }
}
