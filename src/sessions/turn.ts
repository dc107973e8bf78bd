// What comes up in one turn of the event loop, done together at its end. One query can then answer all of it, and code is
// faster many times in a row than once between two requests: hashing a cookie took 0.3 us there and 3 us here.

/** Gathers items and hands them over after all sockets that are readable in this turn were handled. */
export class Turn<Item> {
  #items: Item[] = [];
  /** So many came in this turn. */
  #count = 0;
  /** The last turn had one item only: waiting for others is likely to be in vain. */
  #quiet = false;

  /** @param work gets the items of one turn, in the order in which they came; it must not throw */
  constructor(private readonly work: (items: readonly Item[]) => void) {}

  /** Adds to the present turn. In quiet times, the first item of a turn is handed over at once. */
  add(item: Item): void {
    this.#count++;
    if (this.#count === 1) setImmediate(() => this.#end());
    if (this.#count === 1 && this.#quiet) this.work([item]);
    else this.#items.push(item);
  }

  #end(): void {
    this.#quiet = this.#count === 1;
    this.#count = 0;
    if (this.#items.length === 0) return;
    const items = this.#items;
    this.#items = [];
    this.work(items);
  }
}
