// The one place where randomness enters. 256 bits from the operating system's generator, base64url.
import { randomFillSync, randomUUID } from 'node:crypto';

/** Bytes in every opaque value (state, nonce, verifier, session, browser): 256 bits. */
export const TOKEN_BYTES = 32;

/** Drawn ahead, since most of what a draw costs is the call. What was given out is wiped here, and never given out again. */
const AHEAD = Buffer.allocUnsafeSlow(2_048);
let given = AHEAD.length;

/** Fresh random bytes, at most 2,048, in memory of their own. Throws when the generator fails. */
export function randomOctets(size: number): Buffer {
  if (size > AHEAD.length) throw new RangeError('too many random bytes at a time');
  if (given + size > AHEAD.length) {
    given = AHEAD.length;
    randomFillSync(AHEAD);
    given = 0;
  }
  const octets = Buffer.alloc(size);
  AHEAD.copy(octets, 0, given, given + size);
  AHEAD.fill(0, given, (given += size));
  return octets;
}

/** A fresh opaque value: 32 random bytes as 43 characters of base64url. Throws when the generator fails. */
export function randomToken(): string {
  return randomOctets(TOKEN_BYTES).toString('base64url');
}

/** A random (version 4) UUID, the id of every row we write. */
export function randomId(): string {
  return randomUUID();
}

/**
 * True when `value` is spelled exactly as {@link randomToken} would spell it: 43 base64url characters and no other
 * spelling of the same bytes (the last character carries two unused bits, which must be zero).
 */
export function isToken(value: unknown): value is string {
  return typeof value === 'string' && /^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$/.test(value);
}

/** True for the canonical lower-case text form of a UUID. */
export function isId(value: unknown): value is string {
  return typeof value === 'string' && /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/.test(value);
}
