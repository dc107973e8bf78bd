// Logout that begins at the provider: logout tokens (OpenID Connect Back-Channel Logout) and front-channel URLs.
import { randomUUID } from 'node:crypto';
import type { JsonObject } from './behaviour.js';
import type { ProviderCore, SignOptions } from './core.js';

/** The event that makes a logout token one. */
export const LOGOUT_EVENT = 'http://schemas.openid.net/event/backchannel-logout';

/** How a logout token is made, besides its claims. */
export interface LogoutTokenOptions extends Pick<SignOptions, 'header' | 'forgery'> {
  /** `typ` of the header. @defaultValue `'logout+jwt'` */
  typ?: string;
}

/** What the application answered. */
export interface LogoutAnswer {
  status: number;
  headers: Headers;
  body: string;
}

/** A logout token about the last login; an override of `undefined` removes a claim. */
export function makeLogoutToken(
  core: ProviderCore,
  overrides: JsonObject = {},
  options: LogoutTokenOptions = {},
): string {
  const last = core.logins.at(-1);
  const now = core.now();
  const clientId = last?.clientId ?? [...core.clients.keys()][0];
  const claims: JsonObject = {
    iss: core.issuer,
    aud: clientId,
    iat: now,
    exp: now + 120,
    jti: randomUUID(),
    events: { [LOGOUT_EVENT]: {} },
    sub: last?.sub,
    sid: last?.sid,
    ...overrides,
  };
  const { typ = 'logout+jwt', ...rest } = options;
  return core.sign('logoutToken', claims, { typ, context: { clientId, sub: last?.sub }, ...rest });
}

/** Posts a logout token as the provider does. */
export async function postLogoutToken(url: string, token: string): Promise<LogoutAnswer> {
  const body = new URLSearchParams({ logout_token: token });
  const answer = await fetch(url, { method: 'POST', body, redirect: 'manual' });
  return { status: answer.status, headers: answer.headers, body: await answer.text() };
}

/** The URL a provider puts into an invisible frame; `null` leaves `iss` or `sid` out. */
export function makeFrontchannelUrl(
  core: ProviderCore,
  address: string,
  given: { iss?: string | null; sid?: string | null } = {},
): string {
  const url = new URL(address);
  const { iss = core.issuer, sid = core.logins.at(-1)?.sid ?? null } = given;
  if (iss !== null) url.searchParams.set('iss', iss);
  if (sid !== null) url.searchParams.set('sid', sid);
  return url.href;
}
