// What access tokens open: userinfo (OpenID Connect Core §5.3) and the resource server under `/api` (RFC 6750, RFC 9449).
import { json, ProtocolError, type Answer } from './answer.js';
import type { ProviderCore } from './core.js';
import type { DpopGate } from './dpop.js';
import { userClaims } from './id-token.js';
import type { LoggedRequest } from './request-log.js';
import type { FakeAccessToken } from './token-store.js';

/** One protected resource's request. */
export interface ResourceCall {
  request: LoggedRequest;
  /** Absolute URL of the request without its query, as the caller addressed it. */
  url: string;
  dpop: DpopGate;
}

/** Answers with the user's claims, as JSON or as a signed JWT. @throws ProtocolError. */
export async function userinfoEndpoint(core: ProviderCore, call: ResourceCall): Promise<Answer> {
  const token = await accessTokenOf(core, call);
  const { clientId, user } = token.grant;
  const context = { request: call.request, clientId, sub: user.sub };
  const headers = call.dpop.nonceHeader();
  const claims = userClaims(user);
  if (core.behaviour.userinfoFormat === 'json')
    return json(core.tampers.apply('userinfo', claims, {}, context), 200, headers);
  const signed = core.sign('userinfo', { iss: core.issuer, aud: clientId, iat: core.now(), ...claims }, { context });
  return { status: 200, headers: { 'content-type': 'application/jwt', ...headers }, body: signed };
}

/** Answers about the token and the path; with `apiEcho` also with what was received. @throws ProtocolError. */
export async function apiEndpoint(core: ProviderCore, call: ResourceCall): Promise<Answer> {
  const token = await accessTokenOf(core, call);
  const { request } = call;
  const { grant, scope, resources, generation, uses } = token;
  const { sub } = grant.user;
  const echo = core.behaviour.apiEcho ? { headers: request.headers, body: request.body } : {};
  const body = {
    sub,
    method: request.method,
    path: request.path,
    tokenCount: uses,
    generation,
    scope,
    resources,
    ...echo,
  };
  const context = { request, clientId: grant.clientId, sub };
  return json(core.tampers.apply('api', body, context), 200, call.dpop.nonceHeader());
}

async function accessTokenOf(core: ProviderCore, { request, url, dpop }: ResourceCall): Promise<FakeAccessToken> {
  const [scheme = '', value = ''] = (request.headers.authorization ?? '').split(' ');
  const token = core.store.accessTokens.get(value);
  const wanted = token?.jkt === undefined ? 'bearer' : 'dpop';
  if (!token || !core.store.isActive(value) || scheme.toLowerCase() !== wanted)
    throw unauthorized('Bearer', 'invalid_token');
  if (token.jkt !== undefined) {
    const jkt = await dpop.check(request, url, core.now(), value).catch((error: unknown) => {
      throw error instanceof ProtocolError ? unauthorized('DPoP', error.error, error) : error;
    });
    if (jkt !== token.jkt) throw unauthorized('DPoP', 'invalid_token');
  }
  token.uses += 1;
  return token;
}

function unauthorized(scheme: 'Bearer' | 'DPoP', code: string, cause?: ProtocolError): ProtocolError {
  const headers = { ...cause?.headers, 'www-authenticate': `${scheme} error="${code}"` };
  return new ProtocolError(code, cause?.description ?? 'this access token does not open this resource', 401, headers);
}
