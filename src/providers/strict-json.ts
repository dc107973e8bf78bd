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

/** Walks the text, which is known to be valid JSON, and keeps the keys of each open object. */
function assertUniqueKeys(text: string): void {
  const open: (Set<string> | null)[] = [];
  // Only strings, braces and brackets matter: everything between them cannot hold a key.
  const tokens = /"[^"\\]*(?:\\.[^"\\]*)*"|[{}[\]]/g;
  const colon = /\s*:/y;
  for (let token = tokens.exec(text); token; token = tokens.exec(text)) {
    const [symbol] = token;
    if (symbol === '{') open.push(new Set());
    else if (symbol === '[') open.push(null);
    else if (symbol === '}' || symbol === ']') open.pop();
    else {
      const keys = open.at(-1);
      if (!keys) continue;
      colon.lastIndex = tokens.lastIndex;
      if (!colon.test(text)) continue;
      const key = JSON.parse(symbol) as string;
      if (keys.has(key)) throw new SyntaxError('a key of the JSON object is repeated');
      if (key === '__proto__') throw new SyntaxError('the JSON object has a key "__proto__"');
      keys.add(key);
    }
  }
}
