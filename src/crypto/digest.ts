// Digests: opaque values are stored only as SHA-256, PKCE challenges are S256 (RFC 7636 §4.2).
import { createHash, hash } from 'node:crypto';

/** SHA-256 of the text's UTF-8 bytes: 32 bytes. */
export function sha256(text: string): Buffer {
  return hash('sha256', text, 'buffer');
}

/** SHA-256 of the text's UTF-8 bytes, in base64 (44 characters): cheaper than by way of a Buffer. */
export function sha256Base64(text: string): string {
  return hash('sha256', text, 'base64');
}

/**
 * The PKCE challenge of a verifier, base64url.
 * @see RFC 7636 §4.2
 */
export function s256(verifier: string): string {
  return sha256(verifier).toString('base64url');
}

/**
 * The left half of a hash as `at_hash` has it: SHA-2 of the size that the signature algorithm names.
 * @see OIDC Core §3.1.3.6
 */
export function leftHalfHash(text: string, alg: string): string {
  const size = /(256|384|512)$/.exec(alg)?.[1] ?? '512';
  const hash = createHash(`sha${size}`).update(text, 'ascii').digest();
  return hash.subarray(0, hash.length / 2).toString('base64url');
}

/** A signed 64-bit key for `pg_advisory_xact_lock`, made from the parts so that no two lists of parts read alike. */
export function lockKey(...parts: readonly string[]): bigint {
  return createHash('sha256').update(JSON.stringify(parts)).digest().readBigInt64BE(0);
}
