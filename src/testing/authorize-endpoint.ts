// The authorization endpoint: everybody consents at once. Answers through the browser, or with a page where the request
// is too bad for that.
import { randomUUID } from 'node:crypto';
import { html, escapeHtml, ProtocolError, redirect, type Answer } from './answer.js';
import type { FakeClient, FakeUser } from './behaviour.js';
import { authorizationAnswer, type Return } from './authorization-answer.js';
import type { MixUp, ProviderCore } from './core.js';
import type { LoggedRequest } from './request-log.js';
import { requestedParams, type PushedRequests, type RequestedParams } from './request-object.js';
import { newSecret, type FakeGrant } from './token-store.js';

/** Answers an authorization request; `error` is one that a fault demands instead of a code. */
export async function authorizeEndpoint(
  core: ProviderCore,
  pushed: PushedRequests,
  request: LoggedRequest,
  error?: ProtocolError,
): Promise<Answer> {
  const given = request.method === 'POST' ? request.form : request.query;
  const client = core.clients.get(given.get('client_id') ?? '');
  if (!client) return errorPage('unknown client_id');
  let requested: RequestedParams;
  try {
    requested = await requestedParams(core, pushed, client, given);
  } catch (problem) {
    if (problem instanceof ProtocolError) return errorPage(problem.message);
    throw problem;
  }
  const { params } = requested;
  if (core.mixUp) return redirect(forwarded(core.mixUp, params));
  const redirectUri = params.get('redirect_uri') ?? onlyOne(client);
  if (redirectUri === undefined) return errorPage('redirect_uri is missing');
  if (client.redirectUris && !client.redirectUris.includes(redirectUri))
    return errorPage('redirect_uri is not registered');
  const back: Return = { request, client, params, redirectUri };
  try {
    if (error) throw error;
    refuseBadRequest(core, params);
    return authorizationAnswer(core, back, { code: issueCode(core, client, request, redirectUri, requested) });
  } catch (problem) {
    if (!(problem instanceof ProtocolError)) throw problem;
    return authorizationAnswer(core, back, { error: problem.error, error_description: problem.description });
  }
}

function refuseBadRequest(core: ProviderCore, params: URLSearchParams): void {
  const { behaviour } = core;
  if (params.get('response_type') !== 'code')
    throw new ProtocolError('unsupported_response_type', 'only code is supported');
  const challenge = params.get('code_challenge');
  if (behaviour.pkce === 'required' && challenge === null)
    throw new ProtocolError('invalid_request', 'code challenge required');
  if (behaviour.pkce !== 'ignored' && challenge !== null && params.get('code_challenge_method') !== 'S256') {
    throw new ProtocolError('invalid_request', 'transform algorithm not supported');
  }
  if (params.get('prompt') === 'none' && behaviour.promptNoneError !== undefined) {
    throw new ProtocolError(behaviour.promptNoneError, 'prompt=none needs a person');
  }
}

function issueCode(
  core: ProviderCore,
  client: FakeClient,
  request: LoggedRequest,
  redirectUri: string,
  { params, jkt }: RequestedParams,
): string {
  const user = whoLogsIn(core, request, params);
  const grant = newGrant(core, client, user, params);
  core.logins.push({ sub: user.sub, sid: grant.sid, clientId: client.clientId });
  const value = newSecret('code', core.behaviour.codeSize);
  core.store.addCode({
    value,
    grant,
    redirectUri,
    redirectUriSent: params.has('redirect_uri'),
    expiresAt: Date.now() + core.behaviour.codeLifetime * 1000,
    used: false,
    ...optional('challenge', params.get('code_challenge')),
    ...optional('jkt', params.get('dpop_jkt') ?? jkt),
  });
  return core.remember('code', value, grant);
}

function newGrant(core: ProviderCore, client: FakeClient, user: FakeUser, params: URLSearchParams): FakeGrant {
  const { behaviour } = core;
  const details = params.get('authorization_details');
  const asked = params.has('max_age') || (params.get('claims') ?? '').includes('auth_time');
  const saysTime = behaviour.authTime === 'always' || (behaviour.authTime === 'whenAsked' && asked);
  const acr = behaviour.acr === undefined ? params.get('acr_values')?.split(' ')[0] : behaviour.acr;
  return {
    id: core.store.nextGrantId(),
    clientId: client.clientId,
    user,
    scope: params.get('scope') ?? '',
    resources: params.getAll('resource'),
    sid: typeof user.sid === 'string' ? user.sid : randomUUID(),
    revoked: false,
    accessTokens: 0,
    ...optional('nonce', params.get('nonce')),
    ...optional('acr', acr),
    ...(saysTime ? { authTime: core.now() - (behaviour.authAge ?? 0) } : {}),
    ...(details === null ? {} : { authorizationDetails: parsed(details) }),
  };
}

function whoLogsIn(core: ProviderCore, request: LoggedRequest, params: URLSearchParams): FakeUser {
  const hint = params.get('login_hint');
  const hinted =
    hint === null ? undefined : [...core.users.values()].find(({ sub, email }) => hint === sub || hint === email);
  if (hinted) return hinted;
  return typeof core.user === 'function' ? core.user(request) : core.user;
}

function forwarded(mixUp: MixUp, params: URLSearchParams): string {
  const url = new URL(mixUp.authorizationEndpoint);
  for (const [name, value] of params) url.searchParams.append(name, value);
  url.searchParams.set('client_id', mixUp.clientId);
  if (mixUp.redirectUri !== undefined) url.searchParams.set('redirect_uri', mixUp.redirectUri);
  return url.href;
}

function optional<K extends string>(name: K, value: string | null | undefined): { [P in K]?: string } {
  return (value === null || value === undefined ? {} : { [name]: value }) as { [P in K]?: string };
}

function onlyOne(client: FakeClient): string | undefined {
  return client.redirectUris?.length === 1 ? client.redirectUris[0] : undefined;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new ProtocolError('invalid_authorization_details', 'not JSON');
  }
}

function errorPage(problem: string): Answer {
  return html(`<h1>This request cannot be answered</h1><p>${escapeHtml(problem)}</p>`, 400);
}
