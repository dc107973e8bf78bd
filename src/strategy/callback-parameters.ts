// The parameters of a callback in their only accepted shape: each once, text, bounded (RFC 6749 §3.1, §4.1.2).
import { OAuthError } from '../errors/oauth-error.js';

/** What a provider may tell us in the callback. Everything else is ignored (RFC 6749 §4.1.2). */
export interface CallbackParameters {
  readonly state: string | undefined;
  readonly code: string | undefined;
  readonly error: string | undefined;
  readonly iss: string | undefined;
  /** A JWT-secured response (JARM), where the provider answers that way. */
  readonly response: string | undefined;
}

/** Longest query or body accepted, characters. */
export const MAX_CALLBACK_LENGTH = 8_192;

const KNOWN = ['state', 'code', 'error', 'iss', 'response'] as const;
/** Names that could only be meant to confuse a parser. */
const CONFUSING = /^(?:(?:state|code|error|iss|response)[[.]|__proto__|constructor|prototype)/;

/**
 * Reads callback parameters from a query string or form body.
 * @throws {OAuthError} `invalid_request` for repeated, bracketed or oversized ones
 */
export function callbackParameters(encoded: string): CallbackParameters {
  if (encoded.length > MAX_CALLBACK_LENGTH) throw malformed('the parameters are longer than 8 KB');
  const found: Record<string, string> = Object.create(null) as Record<string, string>;
  for (const [name, value] of new URLSearchParams(encoded)) {
    if (CONFUSING.test(name)) throw malformed('a parameter has an odd name');
    if (!KNOWN.includes(name as (typeof KNOWN)[number])) continue;
    if (name in found) throw malformed(`"${name}" is repeated`);
    found[name] = value;
  }
  // RFC 6749 §3.1: parameters without a value are treated as if they were not there.
  const [state, code, error, iss, response] = KNOWN.map((name) => found[name] || undefined);
  return { state, code, error, iss, response };
}

function malformed(reason: string): OAuthError {
  return new OAuthError('invalid_request', { cause: new Error(`callback: ${reason}`) });
}
