// Tells when a machine was suspended or moved: it has missed time, and its monotonic clock does not know. Whatever counts
// on from an earlier moment would then be believed for too long.

/** What counts as a jump between two looks, milliseconds. Clocks that drift apart by a little every day do not jump. */
const JUMP = 1_000;

/** Compares the monotonic clock with the database's. Another server's clock may count as a jump: then all begin anew once. */
export class ClockWatch {
  /** The most that the database's clock can have been ahead at the last look, milliseconds. */
  #ahead = Infinity;

  /**
   * True when the database's clock has run on without this one since the last call.
   * @param clock the database's, milliseconds since the epoch
   * @param asked when it was asked, on the monotonic clock, milliseconds; the answer has just come
   */
  hasJumped(clock: number, asked: number): boolean {
    // It was read between asking and now, so the first is the most and the second the least it can be ahead.
    const [most, least] = [clock - asked, clock - performance.now()];
    const jumped = least > this.#ahead + JUMP;
    this.#ahead = most;
    return jumped;
  }
}
