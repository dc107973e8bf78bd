// The one place where randomness enters. 256 bits from the operating system's generator, base64url.
import { randomBytes, randomUUID } from 'node:crypto';

/** Bytes in every opaque value (state, nonce, verifier, session, browser): 256 bits. */
export const TOKEN_BYTES = 32;

/** A fresh opaque value: 32 random bytes as 43 characters of base64url. Throws when the generator fails. */
export function randomToken(): string {
  return randomBytes(TOKEN_BYTES).toString('base64url');
}

/** As many fresh opaque values, drawn at once: asking the generator costs more than what it gives. */
export function randomTokens(count: number): string[] {
  const drawn = randomBytes(count * TOKEN_BYTES);
  return Array.from({ length: count }, (_, i) => drawn.toString('base64url', i * TOKEN_BYTES, (i + 1) * TOKEN_BYTES));
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
