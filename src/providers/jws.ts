// Compact JWS (RFC 7515 §7.1) of a provider, checked with the keys of its set: jose finds and imports the key.
import { type createLocalJWKSet, type CryptoKey, decodeProtectedHeader, errors, type JWTHeaderParameters } from 'jose';
import { isSignature } from '../crypto/signature.js';

/** Most keys tried for one token. */
const MAX_CANDIDATES = 10;
/** Three parts in base64url without padding, none of them empty. */
const COMPACT = /^[\w-]+\.[\w-]+\.[\w-]+$/;

/** Finds the key of a header, as jose does. */
export type Finder = ReturnType<typeof createLocalJWKSet>;

/** A JWS that is well formed and of an accepted algorithm. Nothing of it is to be believed yet. */
export interface Jws {
  readonly header: JWTHeaderParameters;
  /** Header and payload as they were signed. */
  readonly signed: Buffer;
  readonly payload: Buffer;
  readonly signature: Buffer;
}

/**
 * Takes a JWS apart.
 * @param algorithms accepted values of `alg`
 * @throws {Error} when it is malformed, of another algorithm, or has critical parameters
 */
export function parsedJws(jws: string, algorithms: readonly string[]): Jws {
  if (!COMPACT.test(jws)) throw new errors.JWSInvalid('not a compact JWS');
  const { alg, ...header } = decodeProtectedHeader(jws);
  if (typeof alg !== 'string' || !algorithms.includes(alg))
    throw new errors.JOSEAlgNotAllowed(`algorithm is not among ${algorithms.join(', ')}`);
  if (header.crit !== undefined) throw new errors.JOSENotSupported('critical header parameters are not supported');
  const [encodedHeader, payload, signature] = jws.split('.') as [string, string, string];
  // A single character more than whole groups is no byte, and Node passes over it.
  if ([encodedHeader, payload, signature].some(({ length }) => length % 4 === 1))
    throw new errors.JWSInvalid('not base64url');
  return {
    header: { ...header, alg },
    signed: Buffer.from(`${encodedHeader}.${payload}`, 'ascii'),
    payload: Buffer.from(payload, 'base64url'),
    signature: Buffer.from(signature, 'base64url'),
  };
}

/**
 * Checks the signature. Several keys may fit where names are missing or shared: each is tried, as long as they are few.
 * @throws {Error} of jose: `JWKSNoMatchingKey`, `JWSSignatureVerificationFailed`
 */
export async function assertSigned(jws: Jws, find: Finder): Promise<void> {
  const isSignedWith = (key: CryptoKey): boolean => isSignature(jws.signature, { ...jws, alg: jws.header.alg, key });
  try {
    if (isSignedWith(await find(jws.header))) return;
  } catch (error) {
    if (!(error instanceof errors.JWKSMultipleMatchingKeys)) throw error;
    let tried = 0;
    for await (const key of error) {
      if (++tried > MAX_CANDIDATES) break;
      if (isSignedWith(key)) return;
    }
  }
  throw new errors.JWSSignatureVerificationFailed();
}
