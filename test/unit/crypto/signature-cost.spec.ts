// Keys that a hostile provider makes so that checking takes long: nothing is checked with them.
import { jest } from '@jest/globals';
import * as actual from 'node:crypto';
import { randomBytes } from 'node:crypto';
import { type CryptoKey, exportJWK, generateKeyPair, importJWK, type JWK } from 'jose';

let checked = 0;
jest.unstable_mockModule('node:crypto', () => ({
  ...actual,
  default: actual,
  verify: (...given: Parameters<typeof actual.verify>) => {
    checked++;
    return actual.verify(...given);
  },
}));
const { isSignature } = await import('../../../src/crypto/signature.js');

/** A number of so many bits, odd, that nobody can sign with. */
function number(bits: number): string {
  const bytes = randomBytes(bits / 8);
  bytes[0]! |= 0x80;
  bytes[bytes.length - 1]! |= 1;
  return bytes.toString('base64url');
}

it('E-098 nothing is checked with an RSA key of more than 8,192 bits, or with a long exponent', async () => {
  const good = await exportJWK((await generateKeyPair('RS256', { extractable: true })).publicKey);
  const keys: [JWK, number][] = [
    [good, 1],
    [{ ...good, n: number(8_192) }, 1],
    [{ ...good, n: number(8_200) }, 0],
    [{ ...good, n: number(16_384) }, 0],
    [{ ...good, e: number(40) }, 0],
    [{ ...good, e: number(2_040) }, 0],
  ];
  for (const [jwk, expected] of keys) {
    checked = 0;
    const key = (await importJWK(jwk, 'RS256')) as CryptoKey;
    const signature = randomBytes(Buffer.from(jwk.n!, 'base64url').length);
    expect(isSignature(signature, { alg: 'RS256', key, signed: randomBytes(40) })).toBe(false);
    expect(checked).toBe(expected);
  }
});
