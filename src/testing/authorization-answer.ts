// Sends an authorization answer back through the browser in the response mode asked for, with `iss` (RFC 9207), as a
// form (OAuth 2.0 Form Post Response Mode) or as a JWT (JARM).
import { escapeHtml, html, redirect, type Answer } from './answer.js';
import type { FakeClient } from './behaviour.js';
import type { ProviderCore } from './core.js';
import type { LoggedRequest } from './request-log.js';

/** The way back to the client. */
export interface Return {
  request: LoggedRequest;
  client: FakeClient;
  /** Parameters of the authorization request. */
  params: URLSearchParams;
  redirectUri: string;
}

/** Builds the answer from its parameters; `state` and `iss` are added here. */
export function authorizationAnswer(core: ProviderCore, back: Return, answer: Record<string, string>): Answer {
  const plain = new URLSearchParams(answer);
  const state = back.params.get('state');
  if (state !== null) plain.set('state', state);
  const { responseIss } = core.behaviour;
  if (responseIss !== false) plain.set('iss', responseIss === true ? core.issuer : responseIss);
  const context = { request: back.request, clientId: back.client.clientId };
  const params = core.tampers.apply('authorizationResponse', plain, context);
  const [mode, jwt] = responseMode(back.params.get('response_mode'));
  return deliver(mode, back, jwt ? asJwt(core, params, context) : params);
}

type Mode = 'query' | 'fragment' | 'form_post';

function responseMode(asked: string | null): [mode: Mode, jwt: boolean] {
  const [mode = '', suffix] = (asked ?? 'query').split('.');
  const known: Mode = mode === 'fragment' || mode === 'form_post' ? mode : 'query';
  return [known, asked === 'jwt' || suffix === 'jwt'];
}

function deliver(mode: Mode, { request, redirectUri }: Return, params: URLSearchParams): Answer {
  if (mode === 'form_post') return selfPostingForm(redirectUri, params);
  const url = new URL(redirectUri);
  if (mode === 'fragment') url.hash = params.toString();
  else for (const [name, value] of params) url.searchParams.append(name, value);
  return redirect(url.href, request.method === 'POST' ? 303 : 302);
}

function selfPostingForm(action: string, params: URLSearchParams): Answer {
  const inputs = [...params].map(
    ([name, value]) => `<input type="hidden" name="${escapeHtml(name)}" value="${escapeHtml(value)}">`,
  );
  return html(
    `<form method="post" action="${escapeHtml(action)}">${inputs.join('')}<button>Continue</button></form>` +
      '<script>document.forms[0].submit()</script>',
  );
}

function asJwt(
  core: ProviderCore,
  params: URLSearchParams,
  context: { request: LoggedRequest; clientId: string },
): URLSearchParams {
  // A JWT names its issuer, whatever the answer beside it would do.
  const claims = { iss: core.issuer, ...Object.fromEntries(params), aud: context.clientId, exp: core.now() + 600 };
  return new URLSearchParams({ response: core.sign('jarm', claims, { context }) });
}
