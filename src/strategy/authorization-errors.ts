// `error` of an authorization response (RFC 6749 §4.1.2.1, OIDC Core §3.1.2.6) in our words. Its description is never shown.
import type { OAuthErrorCode } from '../errors/error-codes.js';
import { OAuthError } from '../errors/oauth-error.js';

const CODES: Readonly<Record<string, OAuthErrorCode>> = {
  access_denied: 'access_denied',
  login_required: 'login_required',
  consent_required: 'consent_required',
  interaction_required: 'interaction_required',
  account_selection_required: 'account_selection_required',
  unmet_authentication_requirements: 'insufficient_authentication',
  server_error: 'provider_error',
  temporarily_unavailable: 'provider_unavailable',
  unauthorized_client: 'client_rejected',
};

/** The error of a callback that came with a valid state. */
export function authorizationError(error: string, provider: string): OAuthError {
  const code = Object.hasOwn(CODES, error) ? CODES[error]! : 'authorization_refused';
  // Names of errors look like this. Anything else came along with the browser, and may be what must not be logged: a code.
  const named = /^[a-z]+(?:_[a-z]+)*$/.test(error) && error.length <= 64 ? error : 'an error of an odd name';
  return new OAuthError(code, { provider, cause: new Error(`the provider answered ${named}`) });
}
