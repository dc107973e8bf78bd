// JSON of providers: one object, every key once. Compared with a reader that knows nothing but the grammar.
import fc from 'fast-check';
import { parseJsonObject } from '../../../src/providers/strict-json.js';
import '../../support/fixed-seed.js';

it.each([
  ['nothing in it', '{}'],
  ['the same key in two objects', '{"a":{"x":1},"b":{"x":2},"x":3}'],
  ['the same text as key and value', '{"a":"a","b":["a","b"],"c":"b"}'],
  ['quotes, backslashes and colons in values', String.raw`{"a":"\"","b":"\\","c":"\\\"a\":","d":":","e":"{\"a\":1}"}`],
  ['white space of every kind', '{ "a"\t:\r\n1 , "b" : [ "a" ] }'],
])('accepts %s', (_what, text) => {
  expect(parseJsonObject(text)).toEqual(JSON.parse(text));
});

it.each([
  ['a repeated key', '{"a":1,"a":1}'],
  ['one repeated far apart', `{"a":1,"b":${JSON.stringify({ long: ['a'.repeat(5_000)] })},"a":2}`],
  ['one repeated deep inside', '{"a":[{"b":{"c":1,"d":2,"c":3}}]}'],
  ['one repeated in other spellings', String.raw`{"ab":1,"\u0061b":2}`],
  ['one with a quote or a backslash, repeated', String.raw`{"\"":1,"\u0022":2}`],
  ['one behind a value that ends in backslashes', String.raw`{"a":"\\\\","a":1}`],
  ['one with white space before the colon', '{"a":1,"a" \n\t\r:2}'],
  ['an empty key repeated', '{"":1,"":2}'],
  ['a key "__proto__"', '{"__proto__":{"admin":true}}'],
  ['one of other spelling', String.raw`{"a":{"\u005f_proto__":1}}`],
  ['a list', '[1]'],
  ['no object', '"a"'],
  ['two values', '{}{}'],
  ['a byte order mark', '\ufeff{}'],
])('refuses %s', (_what, text) => {
  expect(() => parseJsonObject(text)).toThrow(SyntaxError);
});

/** An object as the list of its members, so that a key may occur twice. */
interface Members {
  members: [string, unknown][];
}

const { value } = fc.letrec<{ value: unknown; object: Members }>((tie) => ({
  value: fc.oneof({ maxDepth: 3 }, key(), fc.integer(), fc.constant(null), fc.array(tie('value')), tie('object')),
  object: fc.record({ members: fc.array(fc.tuple(key(), tie('value')), { maxLength: 4 }) }),
}));

function key() {
  return fc.oneof(
    fc.constantFrom('a', 'b', '"', '\\', '\\"', ':', '{', ''),
    fc.string({ unit: 'binary', maxLength: 4 }),
  );
}

function isMembers(given: unknown): given is Members {
  return typeof given === 'object' && given !== null && 'members' in given;
}

const written = (given: unknown): string =>
  isMembers(given)
    ? `{ ${given.members.map(([name, inner]) => `${JSON.stringify(name)} : ${written(inner)}`).join(' ,')}}`
    : Array.isArray(given)
      ? `[${given.map(written).join(', ')}]`
      : JSON.stringify(given);

const repeats = (given: unknown): boolean =>
  isMembers(given)
    ? new Set(given.members.map(([name]) => name)).size < given.members.length ||
      given.members.some(([, inner]) => repeats(inner))
    : Array.isArray(given) && given.some(repeats);

it('finds a repeated key wherever it is, and nothing else', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(key(), value), { maxLength: 4 }), (members) => {
      const text = written({ members });
      if (repeats({ members })) expect(() => parseJsonObject(text)).toThrow('repeated');
      else expect(parseJsonObject(text)).toEqual(JSON.parse(text));
    }),
    { numRuns: 2_000 },
  );
});
