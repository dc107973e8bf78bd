// Statements about several sessions at once, by the hashes of their cookies.

/** What no cookie hashes to. */
const NO_HASH = '';

/**
 * A statement about a number of hashes. One is sent as its bytes, which is a twentieth less for Postgres; of several, nothing is
 * saved by that. A list of parameters gets a plan that is kept, which an array does not
 * (Postgres plans `= any($1)` anew for each small array); the list is padded to a power of two, so that there are few
 * statements.
 */
export class ByHashes {
  readonly #texts = new Map<number, string>();

  /** @param statement the text for these expressions, each a hash of 32 bytes, or of none where nobody asks */
  constructor(private readonly statement: (hashes: readonly string[]) => string) {}

  /** The statement for so many hashes, base64, and its parameters: the hashes in their order, then padding. */
  of(hashes: readonly string[]): { text: string; values: (string | Buffer)[] } {
    if (hashes.length === 1) return { text: this.#textOf(1), values: [Buffer.from(hashes[0]!, 'base64')] };
    const size = 2 ** Math.ceil(Math.log2(hashes.length));
    const values = [...hashes];
    while (values.length < size) values.push(NO_HASH);
    return { text: this.#textOf(size), values };
  }

  #textOf(size: number): string {
    let text = this.#texts.get(size);
    if (text === undefined) {
      const decoded = Array.from({ length: size }, (_, index) => `decode($${index + 1}, 'base64')`);
      text = this.statement(size === 1 ? ['$1::bytea'] : decoded);
      this.#texts.set(size, text);
    }
    return text;
  }
}
