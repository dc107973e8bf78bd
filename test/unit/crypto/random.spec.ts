// Opaque values: 256 bits from the operating system's generator, one spelling each; redacted objects.
import { inspect } from 'node:util';
import { s256, sha256, lockKey } from '../../../src/crypto/digest.js';
import { isId, isToken, randomId, randomToken, randomTokens } from '../../../src/crypto/random.js';
import { Redacted } from '../../../src/crypto/redacted.js';

describe('random values', () => {
  it('D-001 A-045 never repeat, and every bit is as often one as zero, whatever Math.random and the clock say', () => {
    const [random, now] = [Math.random, Date.now];
    Math.random = () => 0.5;
    Date.now = () => 0;
    try {
      const rounds = 200_000;
      const seen = new Set<string>();
      const ones = new Uint32Array(256);
      for (let round = 0; round < rounds; round++) {
        const value = randomToken();
        seen.add(value);
        const bytes = Buffer.from(value, 'base64url');
        for (let bit = 0; bit < 256; bit++) ones[bit]! += (bytes[bit >> 3]! >> (bit & 7)) & 1;
      }
      expect(seen.size).toBe(rounds);
      // Six standard deviations: fails by chance once in millions of runs.
      for (const count of ones) expect(Math.abs(count / rounds - 0.5)).toBeLessThan(6 * Math.sqrt(0.25 / rounds));
    } finally {
      [Math.random, Date.now] = [random, now];
    }
  });

  it('A-006 A-045 10,000 verifiers are 43 unreserved characters each, and all differ', () => {
    const verifiers = new Set(Array.from({ length: 10_000 }, randomToken));
    expect(verifiers.size).toBe(10_000);
    for (const verifier of verifiers) expect(verifier).toMatch(/^[A-Za-z0-9_-]{43}$/);
  });

  it('D-001 values drawn at once are as many, each whole, and all differ', () => {
    const drawn = Array.from({ length: 1_000 }, () => randomTokens(3)).flat();
    expect(new Set(drawn).size).toBe(3_000);
    expect(drawn.every(isToken)).toBe(true);
    // No part of one is a part of another.
    expect(new Set(drawn.flatMap((token) => [token.slice(0, 21), token.slice(21, 42)])).size).toBe(6_000);
  });

  it('D-005 one spelling per value', () => {
    for (let round = 0; round < 1_000; round++) {
      const token = randomToken();
      expect(isToken(token)).toBe(true);
      const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
      const twins = [1, 2, 3].map((spare) => token.slice(0, -1) + alphabet[alphabet.indexOf(token.at(-1)!) ^ spare]!);
      for (const twin of twins) {
        expect(Buffer.from(twin, 'base64url').equals(Buffer.from(token, 'base64url'))).toBe(true);
        expect(isToken(twin)).toBe(false);
      }
    }
    const token = randomToken();
    for (const odd of [
      `${token}=`,
      ` ${token}`,
      `${token}\n`,
      token.slice(1),
      `${token}A`,
      '',
      undefined,
      null,
      5,
      [token],
      { toString: () => token },
    ])
      expect(isToken(odd)).toBe(false);
  });

  it('ids are canonical uuids', () => {
    expect(isId(randomId())).toBe(true);
    for (const odd of [
      '',
      randomId().toUpperCase(),
      `{${randomId()}}`,
      randomId().replaceAll('-', ''),
      `${randomId()} `,
      5,
    ])
      expect(isId(odd)).toBe(false);
  });

  it('challenges are S256 as in the RFC', () => {
    expect(s256('dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk')).toBe('E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM');
    expect(sha256('')).toHaveLength(32);
  });

  it('lock keys do not run together', () => {
    expect(lockKey('ab', 'c')).not.toBe(lockKey('a', 'bc'));
    expect(lockKey('a', 'b')).toBe(lockKey('a', 'b'));
  });
});

describe('redacted objects', () => {
  it('D-041 show nothing when printed, serialised or put into a message', () => {
    class Tokens extends Redacted {
      readonly value = 'canary';
    }
    const tokens = new Tokens();
    const nested = { deep: [tokens] };
    for (const text of [
      JSON.stringify(nested),
      inspect(nested, { depth: 9, showHidden: true }),
      `${tokens}`,
      String(tokens),
    ]) {
      expect(text).not.toContain('canary');
      expect(text).toContain('[redacted]');
    }
  });
});
