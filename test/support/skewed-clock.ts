// Sets the clock of this process off, as on a machine whose clock nobody keeps. Timers and `performance.now()` stay.
const RealDate = Date;

/** Runs something while `Date` is off by so many milliseconds. Applications and providers of the same test run by it as well; Postgres does not. */
export async function withClockOff<T>(milliseconds: number, work: () => Promise<T>): Promise<T> {
  globalThis.Date = class extends RealDate {
    constructor(...given: unknown[]) {
      if (given.length === 0) super(RealDate.now() + milliseconds);
      else super(...(given as [number]));
    }

    static override now(): number {
      return RealDate.now() + milliseconds;
    }
  } as DateConstructor;
  try {
    return await work();
  } finally {
    globalThis.Date = RealDate;
  }
}
