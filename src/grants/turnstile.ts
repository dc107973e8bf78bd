// Lets a bounded number through at once; the others wait in line. Waiting costs nothing but memory.

/** A turnstile. */
export class Turnstile {
  #free: number;
  readonly #line: (() => void)[] = [];

  /** @param places how many may be inside at once */
  constructor(places: number) {
    this.#free = places;
  }

  /** Resolves once there is a place. @returns a function that gives it back; calling it again does nothing */
  async enter(): Promise<() => void> {
    if (this.#free > 0) this.#free -= 1;
    else await new Promise<void>((resolve) => this.#line.push(resolve));
    let inside = true;
    return () => {
      if (!inside) return;
      inside = false;
      const next = this.#line.shift();
      if (next) next();
      else this.#free += 1;
    };
  }
}
