// How long a statement, or a transaction, may take in all.

/** What is left of a wait. */
export class Deadline {
  readonly #end: number;

  /** @param allowance milliseconds in all @param left how many of them are left now */
  constructor(
    private readonly allowance: number,
    left = allowance,
  ) {
    this.#end = performance.now() + left;
  }

  /** Milliseconds, 0 at least. */
  get left(): number {
    return Math.max(0, this.#end - performance.now());
  }

  /** What one more statement may take: what is left, and never so little that a healthy server could not answer. */
  get forStatement(): number {
    return Math.ceil(Math.max(this.left, this.allowance / 10));
  }
}
