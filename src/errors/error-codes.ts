// The one table of everything that can go wrong: code → HTTP status, what people read, what the operator should do.

/** One row of the error table. */
export interface ErrorCodeRow {
  /** HTTP status of the answer. */
  readonly status: number;
  /** What the person at the browser reads. It never contains text of the provider or of the request. */
  readonly message: string;
  /** What the developer or operator reads in the documentation and in the log. */
  readonly hint: string;
}

/**
 * Every stable error code of the package. Codes are promises: they are never renamed, and answers carry them as `code`.
 */
export const ERROR_CODES = {
  // Mistakes of the request
  invalid_request: row(400, 'The request is malformed.', 'A parameter is missing, repeated, too long or not text.'),
  invalid_state: row(
    400,
    'This login is no longer valid. It was already used, took too long, or began in another browser.',
    'State, browser cookie and provider must all match one pending login that is unused and unexpired.',
  ),
  login_in_progress: row(
    400,
    'This login is still being finished in another request.',
    'A duplicate callback waited in vain for the first one.',
  ),
  issuer_mismatch: row(
    400,
    'The answer came from another provider than the one asked.',
    'RFC 9207: `iss` is wrong, or missing although advertised.',
  ),
  code_refused: row(
    400,
    'The provider did not accept this login. Please try again.',
    'The token endpoint answered invalid_grant to the code.',
  ),
  cookies_blocked: row(
    400,
    'Your browser did not send the cookie that this login needs. Please allow cookies and try again.',
    'The browser cookie was missing.',
  ),
  method_not_allowed: row(405, 'This method is not allowed here.', 'See the Allow header.'),
  unknown_provider: row(
    404,
    'There is no such login provider.',
    'The name in the path is not a configured provider, or a grant is from one that is not configured any more.',
  ),
  not_found: row(
    404,
    'There is nothing here, or not any more.',
    'No such session or account for this user, or no such page.',
  ),
  too_many_requests: row(
    429,
    'Too many logins were started. Please wait a moment.',
    'The bound on pending logins was reached, or that on front-channel logouts at once.',
  ),
  // Refusals
  access_denied: row(403, 'You did not allow the login, so nothing was done.', 'The provider answered access_denied.'),
  login_required: row(
    403,
    'The provider asks you to log in there first.',
    'The provider answered login_required to prompt=none.',
  ),
  consent_required: row(403, 'The provider needs your consent first.', 'The provider answered consent_required.'),
  interaction_required: row(
    403,
    'The provider needs your attention first.',
    'The provider answered interaction_required.',
  ),
  account_selection_required: row(
    403,
    'The provider asks you to choose an account first.',
    'The provider answered account_selection_required.',
  ),
  authorization_refused: row(
    403,
    'The provider refused this login.',
    'The provider answered with another error; the log names it.',
  ),
  login_refused: row(403, 'This account may not log in here.', 'onLogin refused.'),
  account_conflict: row(
    403,
    'This identity belongs to another user.',
    'onLogin named another user than the one the account belongs to, or the identity is linked elsewhere.',
  ),
  last_account: row(
    403,
    'This is the only way you can log in, so it stays connected.',
    'AccountService.unlink() removes it with { evenLast: true }.',
  ),
  insufficient_authentication: row(
    403,
    'The provider did not confirm the login as strongly or as recently as required.',
    'auth_time or acr in the ID token does not meet what was asked.',
  ),
  // Sessions
  unauthenticated: row(401, 'Please log in.', 'No live session: the cookie is missing, unknown, ended or expired.'),
  step_up_required: row(
    401,
    'Please confirm your login.',
    'RFC 9470: the session is too old or too weak for this route.',
  ),
  reauth_required: row(
    401,
    'The connection to the provider has ended. Please connect again.',
    'The refresh token is no longer accepted.',
  ),
  user_gone: row(
    401,
    'Your account here is no longer active.',
    '`loadUser` returned nobody for a live session; SessionService.endAll() also ends the sessions.',
  ),
  cross_site: row(
    403,
    'This request came from another site and was refused.',
    'Sec-Fetch-Site or Origin names another origin than baseUrl, or a script, frame or image asked for a login or callback.',
  ),
  insufficient_scope: row(
    403,
    'The connection does not allow this.',
    'The granted scope lacks what @RequireScopes() demands.',
  ),
  origin_not_allowed: row(
    400,
    'This address may not receive a token.',
    'Add the origin to apiOrigins of the provider.',
  ),
  // The provider's fault
  provider_error: row(
    502,
    'The login provider answered with an error. Please try again later.',
    'Unexpected status or content from the provider.',
  ),
  invalid_token_response: row(
    502,
    'The login provider gave an answer that cannot be trusted.',
    'The token response is malformed.',
  ),
  invalid_id_token: row(
    502,
    'The login provider gave an answer that cannot be trusted.',
    'The ID token failed validation.',
  ),
  invalid_userinfo: row(
    502,
    'The login provider gave an answer that cannot be trusted.',
    'The userinfo answer is malformed or about someone else.',
  ),
  invalid_metadata: row(502, 'The login provider is misconfigured.', 'Discovery or metadata failed validation.'),
  client_rejected: row(
    502,
    'The login provider does not accept this application. The operator has been told.',
    'invalid_client or unauthorized_client: check client id, secret and authentication method.',
  ),
  // Away
  provider_unavailable: row(
    503,
    'The login provider cannot be reached. Please try again later.',
    'Connection refused, cut or timed out.',
  ),
  database_unavailable: row(
    503,
    'The service is briefly unavailable. Please try again.',
    'Postgres could not be reached or did not answer in time.',
  ),
  user_unavailable: row(
    503,
    'The service is briefly unavailable. Please try again.',
    '`loadUser` failed; the log has the cause.',
  ),
  key_unavailable: row(
    503,
    'The service is briefly unavailable. Please try again.',
    'A stored value could not be opened: key missing, KMS away, or the value was changed.',
  ),
  configuration_invalid: row(500, 'The service is misconfigured.', 'Options were refused at boot.'),
  server_error: row(500, 'Something went wrong here.', 'A fault of this application; see the log.'),
} as const satisfies Record<string, ErrorCodeRow>;

/** A stable error code, one of the keys of {@link ERROR_CODES}. */
export type OAuthErrorCode = keyof typeof ERROR_CODES;

function row(status: number, message: string, hint: string): ErrorCodeRow {
  return { status, message, hint };
}
