// JSON as a provider must send it: one object, every key once, no `__proto__`. JSON.parse alone lets duplicates pass.

/**
 * Parses one JSON object.
 * @throws {SyntaxError} for anything else: other JSON values, a byte order mark, a repeated key, a `__proto__` key.
 */
export function parseJsonObject(text: string): Record<string, unknown> {
  const value: unknown = JSON.parse(text);
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new SyntaxError('the JSON value is not an object');
  assertUniqueKeys(text);
  return value as Record<string, unknown>;
}

const [QUOTE, BACKSLASH, COLON] = [0x22, 0x5c, 0x3a];
const [OPEN_OBJECT, CLOSE_OBJECT, OPEN_LIST, CLOSE_LIST] = [0x7b, 0x7d, 0x5b, 0x5d];

/**
 * Walks the text, which is known to be valid JSON, and keeps the keys of each open object. Only strings, braces and
 * brackets matter: everything between them cannot hold a key.
 */
function assertUniqueKeys(text: string): void {
  const open: (Set<string> | null)[] = [];
  for (let at = 0; at < text.length; at++) {
    const symbol = text.charCodeAt(at);
    if (symbol === OPEN_OBJECT) open.push(new Set());
    else if (symbol === OPEN_LIST) open.push(null);
    else if (symbol === CLOSE_OBJECT || symbol === CLOSE_LIST) open.pop();
    else if (symbol === QUOTE) {
      const start = at;
      at = endOfString(text, start);
      const keys = open[open.length - 1];
      if (keys && isKey(text, at + 1)) note(keys, text.slice(start, at + 1));
    }
  }
}

/** Index of the closing quote. Strings are long and mostly without escapes: quotes are searched, not characters compared. */
function endOfString(text: string, start: number): number {
  for (let end = text.indexOf('"', start + 1); ; end = text.indexOf('"', end + 1)) {
    let before = end;
    while (text.charCodeAt(before - 1) === BACKSLASH) before--;
    if ((end - before) % 2 === 0) return end;
  }
}

function isKey(text: string, after: number): boolean {
  // The four characters that JSON takes for white space; nothing else may stand before a colon.
  while (text.charCodeAt(after) <= 0x20) after++;
  return text.charCodeAt(after) === COLON;
}

function note(keys: Set<string>, quoted: string): void {
  const key = quoted.includes('\\') ? (JSON.parse(quoted) as string) : quoted.slice(1, -1);
  if (keys.has(key)) throw new SyntaxError('a key of the JSON object is repeated');
  if (key === '__proto__') throw new SyntaxError('the JSON object has a key "__proto__"');
  keys.add(key);
}
