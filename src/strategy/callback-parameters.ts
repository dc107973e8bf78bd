// The parameters of a callback in their only accepted shape: each once, text, bounded (RFC 6749 §3.1, §4.1.2).
import { OAuthError } from '../errors/oauth-error.js';
import { claimedState } from '../providers/jarm.js';

/** What a provider may tell us in the callback. Everything else is ignored (RFC 6749 §4.1.2). */
export interface CallbackParameters {
  readonly state: string;
  readonly code: string | undefined;
  readonly error: string | undefined;
  readonly iss: string | undefined;
  /** A JWT-secured response (JARM), where the provider answers that way. */
  readonly response: string | undefined;
}

/** Longest query or body accepted, characters. */
export const MAX_CALLBACK_LENGTH = 8_192;

const KNOWN = ['state', 'code', 'error', 'iss', 'response'] as const;
/** Parameters of flows that we never ask for (RFC 9700 §2.1.2): whoever sends them is no code flow. */
const OTHER_FLOWS = ['access_token', 'id_token', 'refresh_token'];
/** Names that could only be meant to confuse a parser. */
const CONFUSING = /^(?:(?:state|code|error|iss|response)[[.]|__proto__|constructor|prototype)/;

/**
 * Reads callback parameters from a query string or form body.
 * @param signed everything travels inside a JWT (JARM); its signature is checked later
 * @throws {OAuthError} `invalid_request` for repeated, bracketed, oversized or missing ones
 */
export function callbackParameters(encoded: string, signed = false): CallbackParameters {
  if (encoded.length > MAX_CALLBACK_LENGTH) throw malformed('the parameters are longer than 8 KB');
  const found: Record<string, string> = Object.create(null) as Record<string, string>;
  for (const [name, value] of new URLSearchParams(encoded)) {
    if (CONFUSING.test(name)) throw malformed('a parameter has an odd name');
    if (OTHER_FLOWS.includes(name)) throw malformed(`"${name}" does not belong to the code flow`);
    if (!KNOWN.includes(name as (typeof KNOWN)[number])) continue;
    if (name in found) throw malformed(`"${name}" is repeated`);
    found[name] = value;
  }
  // RFC 6749 §3.1: parameters without a value are treated as if they were not there. An empty `iss` is a wrong one.
  const [plainState, code, error, , response] = KNOWN.map((name) => found[name] || undefined);
  if (signed && (plainState ?? code ?? error) !== undefined) throw malformed('the parameters belong into the JWT');
  const state = signed ? claimedState(response ?? '') : plainState;
  if (state === undefined) throw malformed('"state" is missing');
  if ((signed ? response : (code ?? error)) === undefined) throw malformed('"code" is missing');
  return { state, code, error, iss: found.iss, response };
}

function malformed(reason: string): OAuthError {
  return new OAuthError('invalid_request', { cause: new Error(`callback: ${reason}`) });
}
