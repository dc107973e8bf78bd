// Why a login that the provider vouched for was not written.
import { OAuthError } from '../errors/oauth-error.js';
import type { LoginWritten } from './login.repository.js';

/** Why the login statement wrote no session, or none that lasts. */
export function loginRefusal({ session_seconds, logged_out, late }: LoginWritten, provider: string): OAuthError {
  if (session_seconds !== null)
    return new OAuthError('invalid_id_token', {
      provider,
      cause: new Error(
        'the ID token says that the session is over already ("session_expiry", or "exp" where bound to it)',
      ),
    });
  if (logged_out)
    return new OAuthError('invalid_state', {
      provider,
      cause: new Error('the provider logged this person out meanwhile'),
    });
  if (late)
    return new OAuthError('database_unavailable', { provider, cause: new Error('the database was reached too late') });
  return new OAuthError('account_conflict', { provider });
}
