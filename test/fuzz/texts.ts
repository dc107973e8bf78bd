// What hostile texts are made of: strings that broke somebody's parser once, random ones, and mixtures of both.
import fc from 'fast-check';

const NOTORIOUS = [
  '', ' ', '\0', '%00', '%', '%%', '%zz', '%E0%A4%A', '%FF%FE', '%c0%ae', '+', '&', ';', '=', '?', '#', '/', '//', '\\', '..', '.', ',', '"',
  '\r\nSet-Cookie: evil=1', '%0d%0aSet-Cookie:%20evil=1', '\nLocation: https://evil.example', '\t', '\v', '\u007f', '\u0085', '\u2028',
  '__proto__', 'constructor', 'prototype', 'toString', 'hasOwnProperty', 'then', 'length', 'valueOf', '__defineGetter__',
  '[]', '[a]', '{}', 'null', 'undefined', 'NaN', 'true', '-1', '0', '1e309', '9007199254740993', '0x10', 'Infinity',
  "' or 1=1 --", '$1', '${7*7}', '{{7*7}}', '%s%n', '<script>alert(1)</script>', '"><img src=x onerror=alert(1)>', 'javascript:alert(1)',
  '\u202e', '\u200b', '\ufeff', '\ud800', '\udc00', '😀', 'é', 'e\u0301', 'ſ', 'K', 'İ', '１', 'а', '\u00ff\u00fe', '\u00c3\u0028',
  'https://evil.example', '//evil.example', '/\\evil.example', 'a'.repeat(43), 'A'.repeat(255), 'x'.repeat(2_049), 'y'.repeat(8_193),
]; // prettier-ignore

/** A hostile text of any length up to some kilobytes. */
export const text: fc.Arbitrary<string> = fc.oneof(
  { weight: 5, arbitrary: fc.constantFrom(...NOTORIOUS) },
  { weight: 3, arbitrary: fc.string({ maxLength: 60 }) },
  { weight: 2, arbitrary: fc.string({ unit: 'binary', maxLength: 60 }) },
  {
    weight: 1,
    arbitrary: fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => Buffer.from(bytes).toString('base64url')),
  },
  { weight: 1, arbitrary: fc.array(fc.constantFrom(...NOTORIOUS), { maxLength: 4 }).map((parts) => parts.join('')) },
);

/** Hostile text that stays on one line of a header: the ways out of it are tried elsewhere. */
export const headerText: fc.Arbitrary<string> = text.map((value) => value.replace(/[\r\n]/g, ''));

/** Any JSON value, with members and texts of the notorious kind. */
export const json: fc.Arbitrary<unknown> = fc.oneof(
  { weight: 3, arbitrary: text },
  { weight: 2, arbitrary: fc.jsonValue({ maxDepth: 2 }) },
  {
    weight: 2,
    arbitrary: fc.oneof(
      fc.integer(),
      fc.double(),
      fc.constantFrom(0, -1, 1e300, 2 ** 53, 2 ** 63, 3599.9, null, true, false),
    ),
  },
  { weight: 1, arbitrary: fc.array(text, { maxLength: 3 }) },
  { weight: 1, arbitrary: fc.dictionary(text, text, { maxKeys: 3, noNullPrototype: true }) },
);

/** How a value is spelled in a query or form. */
export type Spelling = 'percent' | 'raw' | 'twice' | 'plus' | 'broken';
const spelling = fc.constantFrom<Spelling>('percent', 'percent', 'percent', 'raw', 'twice', 'plus', 'broken');

/** One pair of a query or form; a value in braces stands for something that the running case knows. */
export interface Pair {
  name: string;
  value: string;
  spelling: Spelling;
}

/** A pair with one of these names, or a hostile one; with one of these values, or a hostile one. */
export function pair(names: readonly string[], values: readonly string[]): fc.Arbitrary<Pair> {
  const bracketed = fc.constantFrom(...names).chain((name) => fc.constantFrom(`${name}[]`, `${name}[a]`, `${name}.a`));
  return fc.record({
    name: fc.oneof(
      { weight: 6, arbitrary: fc.constantFrom(...names) },
      { weight: 1, arbitrary: bracketed },
      {
        weight: 1,
        arbitrary: fc.constantFrom('__proto__[x]', 'constructor[prototype][x]', '__proto__', 'error[toString]'),
      },
      { weight: 1, arbitrary: text },
    ),
    value: fc.oneof({ weight: 3, arbitrary: fc.constantFrom(...values, '') }, { weight: 3, arbitrary: text }),
    spelling,
  });
}

/** Pairs as one text. */
export function encoded(pairs: readonly Pair[], known: ReadonlyMap<string, string>, separator = '&'): string {
  return pairs
    .map(({ name, value, spelling: how }) => `${spelled(name, how)}=${spelled(known.get(value) ?? value, how)}`)
    .join(separator);
}

function spelled(value: string, how: Spelling): string {
  // Lone surrogates have no UTF-8.
  const percent = (given: string) => encodeURIComponent(Buffer.from(given).toString());
  if (how === 'percent') return percent(value);
  if (how === 'twice') return percent(percent(value));
  if (how === 'plus') return percent(value).replaceAll('%20', '+');
  // Space, CR and LF would end the request line: they get their own cases elsewhere.
  if (how === 'raw') return value.replace(/[\s]/g, '');
  return percent(value).replace(/%(.)/g, '%$1%');
}
