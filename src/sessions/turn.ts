// What comes up in one turn of the event loop, done together at its end. One query can then answer all of it, and code is
// faster many times in a row than once between two requests: hashing a cookie took 0.3 us there and 3 us here.

/** Gathers items and hands them over after all sockets that are readable in this turn were handled. */
export class Turn<Item> {
  #items: Item[] = [];

  /** @param work gets the items of one turn, in the order in which they came; it must not throw */
  constructor(private readonly work: (items: readonly Item[]) => void) {}

  /** True while nothing waits for the end of this turn. */
  get isEmpty(): boolean {
    return this.#items.length === 0;
  }

  /** Adds to the present turn. */
  add(item: Item): void {
    if (this.#items.push(item) > 1) return;
    setImmediate(() => {
      const items = this.#items;
      this.#items = [];
      this.work(items);
    });
  }
}
