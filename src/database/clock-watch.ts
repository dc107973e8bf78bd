// Tells when a machine was suspended or moved: it has missed time, and its monotonic clock does not know. Whatever counts
// on from an earlier moment would then be believed for too long.

/** How far the clocks of this process and of the database may drift apart, milliseconds. */
const JUMP = 1_000;

/** Compares the monotonic clock with the database's, over one connection. */
export class ClockWatch {
  /** The most that the database's clock can have been ahead, milliseconds. */
  #ahead = Infinity;

  /**
   * True when the database's clock has run on without this one since an earlier call.
   * @param clock the database's, milliseconds since the epoch
   * @param asked when it was asked, on the monotonic clock, milliseconds; the answer has just come
   */
  hasJumped(clock: number, asked: number): boolean {
    // It was read between asking and now, so the first is the most and the second the least it can be ahead.
    const [most, least] = [clock - asked, clock - performance.now()];
    const jumped = least > this.#ahead + JUMP;
    this.#ahead = Math.min(this.#ahead, most);
    return jumped;
  }
}
