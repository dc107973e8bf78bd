// Authorization responses as signed JWTs (JARM). The state inside is read before the signature is checked, because
// only a login that this browser really began may cost a request for keys.
import { CLOCK_TOLERANCE } from './id-token.js';
import { ProviderError } from './provider-fault.js';
import { parseJsonObject } from './strict-json.js';

/** The parameters that a response JWT may carry for us. */
export interface JarmParameters {
  readonly state: string | undefined;
  readonly code: string | undefined;
  readonly error: string | undefined;
  readonly iss: string | undefined;
}

/** `state` as an unverified response names it: good for finding the pending login, and for nothing else. */
export function claimedState(response: string): string | undefined {
  const payload = response.split('.')[1];
  if (payload === undefined) return undefined;
  try {
    const { state } = parseJsonObject(Buffer.from(payload, 'base64url').toString('utf8'));
    return typeof state === 'string' && state !== '' ? state : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Judges the claims of a response whose signature holds: issuer, audience and expiry.
 * @throws {ProviderError} `issuer_mismatch`, or `invalid_id_token` for anything else
 * @see JWT Secured Authorization Response Mode for OAuth 2.0, §2.4
 */
export function jarmParameters(
  claims: Readonly<Record<string, unknown>>,
  expected: { provider: string; issuer: string; clientId: string; now?: number },
): JarmParameters {
  const { provider, issuer, clientId, now = Date.now() / 1000 } = expected;
  const refuse = (reason: string, code: 'issuer_mismatch' | 'invalid_id_token' = 'invalid_id_token'): never => {
    throw new ProviderError(code, { provider, cause: new Error(`authorization response: ${reason}`) });
  };
  const { iss, aud, exp, nbf } = claims;
  if (iss !== issuer) refuse('"iss" is another issuer', 'issuer_mismatch');
  if (aud !== clientId && !(Array.isArray(aud) && aud.length === 1 && aud[0] === clientId))
    refuse('"aud" is not this client alone');
  if (typeof exp !== 'number' || exp <= now - CLOCK_TOLERANCE) refuse('"exp" is missing or past');
  if (nbf !== undefined && (typeof nbf !== 'number' || nbf > now + CLOCK_TOLERANCE)) refuse('"nbf" is in the future');
  const text = (name: string): string | undefined => {
    const value = claims[name];
    return typeof value === 'string' && value !== '' ? value : undefined;
  };
  return { state: text('state'), code: text('code'), error: text('error'), iss: text('iss') };
}
