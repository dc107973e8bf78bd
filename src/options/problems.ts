// Collects everything wrong with the options, so that one boot names all of it. Values of secrets are never quoted.

/** A place in the options with the problems found so far. */
export class Problems {
  constructor(
    readonly list: string[] = [],
    readonly path = '',
  ) {}

  /** The place `key` below this one. */
  at(key: string | number): Problems {
    const step = typeof key === 'number' ? `[${key}]` : this.path ? `.${key}` : key;
    return new Problems(this.list, this.path + step);
  }

  /** Notes one problem here: what is wrong, and what to write instead. */
  add(message: string): void {
    this.list.push(`${this.path || 'options'}: ${message}`);
  }

  /** The value as an object whose keys are all known; unknown keys are problems that name the nearest known one. */
  object<T extends object>(value: T | undefined, known: readonly string[]): Partial<T> {
    if (value === undefined) return {};
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      this.add(`must be an object, got ${kindOf(value)}`);
      return {};
    }
    for (const key of Object.keys(value)) {
      if (known.includes(key)) continue;
      const near = nearest(key, known);
      this.at(key).add(`is not an option${near ? `; did you mean "${near}"?` : `; known are ${known.join(', ')}`}`);
    }
    return value;
  }

  /** A non-empty text; `secret` keeps the value out of the message. */
  text(value: unknown, secret = false): string {
    if (typeof value === 'string' && value.trim() !== '') return value;
    this.add(
      `must be a non-empty string, got ${value === '' ? 'an empty string' : secret ? kindOf(value) : shown(value)}`,
    );
    return '';
  }

  /** A finite number within bounds, or the default. */
  number(value: unknown, fallback: number, least: number, most = Number.MAX_SAFE_INTEGER): number {
    if (value === undefined) return fallback;
    if (typeof value === 'number' && value >= least && value <= most) return value;
    this.add(
      `must be a number from ${least} to ${most === Number.MAX_SAFE_INTEGER ? 'any' : most}, got ${shown(value)}`,
    );
    return fallback;
  }

  /** A whole number within bounds, or the default. */
  integer(value: unknown, fallback: number, least: number, most = Number.MAX_SAFE_INTEGER): number {
    const number = this.number(value, fallback, least, most);
    if (Number.isInteger(number)) return number;
    this.add(`must be a whole number, got ${shown(value)}`);
    return fallback;
  }

  /** One of the listed values, or the default. */
  oneOf<const A extends string, F extends A | undefined>(value: unknown, allowed: readonly A[], fallback: F): A | F {
    if (value === undefined) return fallback;
    if (allowed.includes(value as A)) return value as A;
    this.add(`must be one of ${allowed.map((item) => `'${item}'`).join(', ')}, got ${shown(value)}`);
    return fallback;
  }

  /** True, false, or the default. */
  boolean<T extends boolean | undefined>(value: unknown, fallback: T): T | boolean {
    if (value === undefined || typeof value === 'boolean') return value ?? fallback;
    this.add(`must be true or false, got ${shown(value)}`);
    return fallback;
  }

  /** A list of non-empty texts, or the default. */
  texts(value: unknown, fallback: readonly string[]): readonly string[] {
    if (value === undefined) return fallback;
    if (Array.isArray(value) && value.every((item) => typeof item === 'string' && item !== ''))
      return Object.freeze([...(value as string[])]);
    this.add(`must be a list of non-empty strings, got ${shown(value)}`);
    return fallback;
  }

  /** A function, or undefined. */
  callable<T>(value: T): T | undefined {
    if (value === undefined || typeof value === 'function') return value;
    this.add(`must be a function, got ${kindOf(value)}`);
    return undefined;
  }
}

/** What kind of value it is, without showing it. */
export function kindOf(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (value === null) return 'null';
  return Array.isArray(value) ? 'an array' : `a ${typeof value}`;
}

/** The value, shortened, for values that are no secret. */
export function shown(value: unknown): string {
  if (value === undefined || typeof value === 'function' || typeof value === 'symbol') return kindOf(value);
  if (typeof value === 'bigint') return `${value}n`;
  // What is inside of an object is nobody's business: it may be a secret.
  if (typeof value === 'object' && value !== null && !isTextList(value)) return kindOf(value);
  const text = JSON.stringify(value).replace(/(\/\/)[^/"]*@/g, '$1***@');
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}

function isTextList(value: object): boolean {
  return Array.isArray(value) && value.every((item) => typeof item === 'string');
}

function nearest(key: string, known: readonly string[]): string | undefined {
  const ranked = known
    .map((item) => ({ item, distance: editDistance(key.toLowerCase(), item.toLowerCase()) }))
    .sort((a, b) => a.distance - b.distance);
  const [best] = ranked;
  return best && best.distance <= Math.max(2, Math.floor(best.item.length / 3)) ? best.item : undefined;
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next[j] = Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1));
    }
    row = next;
  }
  return row[b.length]!;
}
