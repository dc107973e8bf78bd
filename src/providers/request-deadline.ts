// The end of the time that a request to a provider has.

/**
 * Runs from its making. A timer that is cleared, and no `AbortSignal.timeout()`: that one runs on after the answer, and
 * Node's client listens to it at a price.
 */
export class Deadline {
  /** Whether it has come. */
  passed = false;
  readonly #timer: NodeJS.Timeout;
  #abort: ((reason: Error) => void) | undefined;

  /** @param timeout milliseconds from now */
  constructor(timeout: number) {
    this.#timer = setTimeout(() => {
      this.passed = true;
      this.#abort?.(new Error('no complete answer before the deadline'));
    }, timeout);
  }

  /** What is to be done when it comes. */
  onPassed(abort: (reason: Error) => void): void {
    this.#abort = abort;
  }

  /** For those who understand nothing else. @param other ends the request as well */
  asSignal(other: AbortSignal | null | undefined): AbortSignal {
    const controller = new AbortController();
    this.onPassed((reason) => controller.abort(reason));
    return other ? AbortSignal.any([controller.signal, other]) : controller.signal;
  }

  /** The request is over. */
  clear(): void {
    clearTimeout(this.#timer);
  }
}
