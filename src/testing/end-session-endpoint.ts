// The logout page (OpenID Connect RP-Initiated Logout): logs everybody out at once and sends the browser back.
import { compactVerify, createLocalJWKSet } from 'jose';
import { escapeHtml, html, redirect, type Answer } from './answer.js';
import type { JsonObject } from './behaviour.js';
import type { ProviderCore } from './core.js';
import { decodeUnverified } from './jws.js';
import type { LoggedRequest } from './request-log.js';

/** Answers a logout request: a redirect to a registered address, or a page. */
export async function endSessionEndpoint(core: ProviderCore, request: LoggedRequest): Promise<Answer> {
  const params = request.method === 'POST' ? request.form : request.query;
  const hint = await verifiedHint(core, params.get('id_token_hint'));
  core.endSessions.push({ params, hint });
  const clientId = params.get('client_id') ?? (typeof hint?.aud === 'string' ? hint.aud : undefined);
  const address = params.get('post_logout_redirect_uri');
  if (address === null) return html('<h1>You are logged out</h1>');
  const registered = core.clients.get(clientId ?? '')?.postLogoutRedirectUris;
  if (clientId === undefined || (registered && !registered.includes(address))) {
    return html(`<h1>Not a registered address</h1><p>${escapeHtml(address)}</p>`, 400);
  }
  const state = params.get('state');
  const plain = new URLSearchParams(state === null ? {} : { state });
  const url = new URL(address);
  for (const [name, value] of core.tampers.apply('endSessionResponse', plain, { request, clientId })) {
    url.searchParams.append(name, value);
  }
  return redirect(url.href, request.method === 'POST' ? 303 : 302);
}

async function verifiedHint(core: ProviderCore, token: string | null): Promise<JsonObject | undefined> {
  if (token === null) return undefined;
  try {
    await compactVerify(token, createLocalJWKSet(core.keys.jwks()));
    return decodeUnverified(token)?.claims;
  } catch {
    return undefined;
  }
}
