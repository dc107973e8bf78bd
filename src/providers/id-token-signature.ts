// Signatures of ID tokens and other JWTs of a provider, with the key set or (by opt-in) the client secret.
import { compactVerify, decodeProtectedHeader } from 'jose';
import { leftHalfHash } from '../crypto/digest.js';
import type { ResolvedProvider } from '../options/resolve-provider.js';
import { SIGNATURE_ALGORITHMS } from '../options/signature-algorithms.js';
import { CLOCK_TOLERANCE } from './id-token.js';
import type { JwsOrigin, KeySet } from './key-set.js';
import { outline, ProviderError } from './provider-fault.js';
import { parseJsonObject } from './strict-json.js';

/** Algorithms that a signature of this provider may have: the pinned one, else those advertised, never `none` nor HMAC. */
export function acceptedAlgorithms(
  definition: Pick<ResolvedProvider, 'idTokenSignedResponseAlg' | 'security'>,
  advertised: readonly string[] | undefined,
): readonly string[] {
  const { idTokenSignedResponseAlg: pinned, security } = definition;
  if (pinned !== undefined) return [pinned];
  const strong = SIGNATURE_ALGORITHMS.filter((alg) => security !== 'fapi2' || !alg.startsWith('RS'));
  return strong.filter((alg) => (advertised ?? ['RS256']).includes(alg));
}

/** What a signature is judged by. */
export interface SignatureJudge {
  readonly definition: ResolvedProvider;
  readonly keySet: KeySet;
  readonly algorithms: readonly string[];
  /** @defaultValue an answer to a login */
  readonly origin?: JwsOrigin;
  /** Ends the wait for keys. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Checks a signed JWT of a provider, and that its payload is one JSON object without repeated members.
 * @returns its claims, and the algorithm of its signature
 * @throws {ProviderError} `invalid_id_token`
 * @see OIDC Core §3.1.3.7 (6, 7, 8), RFC 8725 §3.1, §3.11
 */
export async function verifiedClaims(
  jwt: string,
  { definition, keySet, algorithms, ...check }: SignatureJudge,
): Promise<{ claims: Record<string, unknown>; alg: string }> {
  const refuse = (reason: string): never => {
    throw new ProviderError('invalid_id_token', { provider: definition.name, cause: new Error(`JWT: ${reason}`) });
  };
  const mac = isMac(algorithms);
  const { header, payload } = await verifiedSignature(jwt, { definition, keySet, algorithms, ...check });
  // A token of another kind (access token, logout token) is none of ours, however well it is signed.
  if (header.typ !== undefined && !/^(application\/)?jwt$/i.test(header.typ)) refuse('"typ" names another kind');
  let claims: Record<string, unknown>;
  try {
    claims = parseJsonObject(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(payload));
  } catch {
    return refuse('the payload is not one JSON object with unique members');
  }
  // Each of several recipients of a MAC could have made it.
  if (mac && Array.isArray(claims.aud)) refuse('a list of audiences and a MAC do not go together');
  return { claims, alg: header.alg };
}

/**
 * Checks the signature of a JWT of a provider, or its MAC where that was chosen, and nothing else.
 * @throws {ProviderError} `invalid_id_token`; `provider_unavailable` when keys cannot be had
 */
export async function verifiedSignature(
  jwt: string,
  { definition, keySet, algorithms, ...check }: SignatureJudge,
): ReturnType<KeySet['verify']> {
  return isMac(algorithms) ? verifyMac(jwt, definition) : keySet.verify(jwt, algorithms, check);
}

/**
 * Checks the binding of an ID token to the access token beside it, where it has one.
 * @throws {ProviderError} `invalid_id_token`
 * @see OIDC Core §3.1.3.8
 */
export function assertAccessTokenHash(
  { claims, alg }: { claims: Readonly<Record<string, unknown>>; alg: string },
  accessToken: unknown,
  provider: string,
): void {
  if (claims.at_hash === undefined) return;
  if (typeof accessToken === 'string' && claims.at_hash === leftHalfHash(accessToken, alg)) return;
  throw new ProviderError('invalid_id_token', { provider, cause: new Error('"at_hash" is of another access token') });
}

/**
 * Checks that signed userinfo was made by this issuer for this client, as far as it says so.
 * @throws {ProviderError} `invalid_userinfo`
 * @see OIDC Core §5.3.2
 */
export function assertUserinfoParties(
  { iss, aud, exp }: Readonly<Record<string, unknown>>,
  { name: provider, issuer, clientId }: ResolvedProvider,
): void {
  const ours = aud === undefined || aud === clientId || (Array.isArray(aud) && aud.includes(clientId));
  const alive = exp === undefined || (typeof exp === 'number' && exp > Date.now() / 1000 - CLOCK_TOLERANCE);
  if (ours && alive && (iss === undefined || iss === issuer)) return;
  throw new ProviderError('invalid_userinfo', {
    provider,
    cause: new Error('signed userinfo: "iss", "aud" or "exp" does not fit'),
  });
}

/** HMAC is never among others. */
function isMac(algorithms: readonly string[]): boolean {
  return algorithms.length === 1 && algorithms[0] === 'HS256';
}

async function verifyMac(jwt: string, { name: provider, clientSecret }: ResolvedProvider) {
  try {
    const { alg, crit } = decodeProtectedHeader(jwt);
    if (alg !== 'HS256' || crit !== undefined) throw new Error('only plain HS256 is accepted here');
    const verified = await compactVerify(jwt, Buffer.from(clientSecret ?? '', 'utf8'), { algorithms: ['HS256'] });
    return { header: { ...verified.protectedHeader, alg }, payload: verified.payload };
  } catch (error) {
    throw new ProviderError('invalid_id_token', { provider, cause: outline(error) });
  }
}
