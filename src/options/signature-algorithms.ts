// Which algorithms a provider's signatures may have, here and nowhere else.

/** Algorithms of signatures with a key pair: never `none`, never HMAC (whose key would be public). @see RFC 7518 §3.1, RFC 8037, RFC 9864 */
export const SIGNATURE_ALGORITHMS: readonly string[] = [
  'RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519',
]; // prettier-ignore
