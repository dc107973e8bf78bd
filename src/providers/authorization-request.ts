// The parameters of an authorization request (RFC 6749 §4.1.1, OIDC Core §3.1.2.1): those of the protocol always win.
import type { ResolvedProvider } from '../options/resolve-provider.js';
import { dpopThumbprint } from './dpop.js';

/** What is asked of the provider at the start of a login. */
export interface AuthorizationRequest {
  redirectUri: string;
  state: string;
  codeChallenge: string;
  nonce: string;
  scope: readonly string[];
  prompt?: string;
  /** Seconds. */
  maxAge?: number;
  acrValues?: readonly string[];
  /** Further parameters that the application allowed by name. */
  extra?: Readonly<Record<string, string>>;
  /** The key that the tokens will be bound to; the code is bound to it as well (RFC 9449 §10). */
  dpopKey?: string;
}

/** All parameters of one request. State, PKCE (S256) and, with OpenID Connect, the nonce are always among them. */
export async function authorizationParameters(
  definition: ResolvedProvider,
  request: AuthorizationRequest,
): Promise<URLSearchParams> {
  const parameters = new URLSearchParams({ ...definition.authorizationParams, ...request.extra });
  const prompt = request.prompt ?? definition.prompt;
  const maxAge = request.maxAge ?? definition.maxAge;
  const acrValues = request.acrValues ?? definition.acrValues;
  if (prompt !== undefined) parameters.set('prompt', prompt);
  if (maxAge !== undefined) parameters.set('max_age', String(maxAge));
  if (acrValues.length > 0) parameters.set('acr_values', acrValues.join(' '));
  if (definition.responseMode !== 'query') parameters.set('response_mode', definition.responseMode);
  if (definition.claims) parameters.set('claims', JSON.stringify(definition.claims));
  if (definition.authorizationDetails)
    parameters.set('authorization_details', JSON.stringify(definition.authorizationDetails));
  for (const resource of definition.resource) parameters.append('resource', resource);
  const separator = definition.quirks?.requestScopeSeparator ?? ' ';
  if (request.scope.length > 0) parameters.set('scope', request.scope.join(separator));
  if (definition.kind === 'oidc') parameters.set('nonce', request.nonce);
  parameters.set('client_id', definition.clientId);
  parameters.set('redirect_uri', request.redirectUri);
  parameters.set('response_type', 'code');
  parameters.set('state', request.state);
  parameters.set('code_challenge', request.codeChallenge);
  parameters.set('code_challenge_method', 'S256');
  if (request.dpopKey !== undefined) parameters.set('dpop_jkt', await dpopThumbprint(request.dpopKey));
  return parameters;
}
