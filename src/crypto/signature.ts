// Signatures with a key pair (RFC 7518 §3.3 to 3.5, RFC 8037 §3.1), checked by Node's crypto at once. WebCrypto checks each in
// another thread, and the way there and back costs about as much as half the check (ES256: 110 to 125 µs in all, here 75).
import { constants, KeyObject, verify, type VerifyKeyObjectInput, type webcrypto } from 'node:crypto';

/** How a signature of one algorithm is checked. */
interface Scheme {
  readonly hash: string | null;
  readonly keyType: string;
  /** Of keys on an elliptic curve of NIST's. */
  readonly curve?: string;
  readonly input?: Omit<VerifyKeyObjectInput, 'key'>;
}

/** A salt as long as the hash, and no other. */
const PSS = { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST };
/** Both numbers in full length, one behind the other (not ASN.1). */
const ECDSA = { dsaEncoding: 'ieee-p1363' } as const;
const ED25519: Scheme = { hash: null, keyType: 'ed25519' };

const SCHEMES = new Map<string, Scheme>([
  ['RS256', { hash: 'sha256', keyType: 'rsa' }],
  ['RS384', { hash: 'sha384', keyType: 'rsa' }],
  ['RS512', { hash: 'sha512', keyType: 'rsa' }],
  ['PS256', { hash: 'sha256', keyType: 'rsa', input: PSS }],
  ['PS384', { hash: 'sha384', keyType: 'rsa', input: PSS }],
  ['PS512', { hash: 'sha512', keyType: 'rsa', input: PSS }],
  ['ES256', { hash: 'sha256', keyType: 'ec', curve: 'prime256v1', input: ECDSA }],
  ['ES384', { hash: 'sha384', keyType: 'ec', curve: 'secp384r1', input: ECDSA }],
  ['ES512', { hash: 'sha512', keyType: 'ec', curve: 'secp521r1', input: ECDSA }],
  ['Ed25519', ED25519],
  ['EdDSA', ED25519],
]);

/**
 * Sizes of RSA keys, bits: what is shorter can be factored (RFC 7518 §3.3), what is longer, or has a long exponent, costs
 * everybody else's time.
 */
const RSA = { shortest: 2_048, longest: 8_192, exponent: 2n ** 32n };

/** The same keys as Node's crypto takes them. */
const keyObjects = new WeakMap<webcrypto.CryptoKey, KeyObject>();

/**
 * True when a signature was made over these bytes with the private half of the key.
 * @param alg name of the algorithm in a JWS header; one that is not ours, or not for this key, is not a signature
 * @param key public key
 */
export function isSignature(
  signature: Uint8Array,
  { alg, key, signed }: { alg: string; key: webcrypto.CryptoKey; signed: Uint8Array },
): boolean {
  const scheme = SCHEMES.get(alg);
  const keyObject = keyObjects.get(key) ?? KeyObject.from(key);
  keyObjects.set(key, keyObject);
  if (!scheme || keyObject.type !== 'public' || !fits(keyObject, scheme)) return false;
  // Of RSASSA-PSS OpenSSL also takes one whose leading zeros were left out (RFC 8017 §8.1.2 step 1).
  const { modulusLength } = keyObject.asymmetricKeyDetails ?? {};
  if (modulusLength !== undefined && signature.length !== Math.ceil(modulusLength / 8)) return false;
  return verify(scheme.hash, signed, { key: keyObject, ...scheme.input }, signature);
}

/** True for a key of the scheme's kind and of fair size. */
function fits({ asymmetricKeyType, asymmetricKeyDetails: details = {} }: KeyObject, scheme: Scheme): boolean {
  if (asymmetricKeyType !== scheme.keyType || details.namedCurve !== scheme.curve) return false;
  if (scheme.keyType !== 'rsa') return true;
  const { modulusLength = 0, publicExponent = RSA.exponent } = details;
  return modulusLength >= RSA.shortest && modulusLength <= RSA.longest && publicExponent < RSA.exponent;
}
