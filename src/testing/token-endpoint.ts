// The token endpoint: redeems codes once, rotates refresh tokens and punishes their reuse.
import { createHash } from 'node:crypto';
import { json, ProtocolError, type Answer } from './answer.js';
import type { FakeClient } from './behaviour.js';
import type { ProviderCore } from './core.js';
import { formEncode } from './fault-answers.js';
import type { LoggedRequest } from './request-log.js';
import { tokenAnswer, type Demand } from './token-answer.js';
import type { FakeCode, FakeRefreshToken } from './token-store.js';

/** Answers a token request of an authenticated client. @throws ProtocolError. */
export async function tokenEndpoint(
  core: ProviderCore,
  request: LoggedRequest,
  client: FakeClient,
  jkt: string | undefined,
): Promise<Answer> {
  if (core.behaviour.requireDpop && jkt === undefined)
    throw new ProtocolError('invalid_dpop_proof', 'a DPoP proof is needed');
  const grantType = request.form.get('grant_type');
  if (grantType !== 'authorization_code' && grantType !== 'refresh_token') {
    throw new ProtocolError('unsupported_grant_type', `${grantType} is not supported`);
  }
  const demand =
    grantType === 'authorization_code' ? redeem(core, request, client, jkt) : refresh(core, request, client, jkt);
  const body = await tokenAnswer(core, demand);
  const context = { request, clientId: client.clientId, sub: demand.grant.user.sub, grantType };
  const answer = json(core.tampers.apply('tokenResponse', body, context));
  if (core.behaviour.tokenResponseFormat === 'json') return answer;
  const headers = { ...answer.headers, 'content-type': 'application/x-www-form-urlencoded' };
  return { ...answer, headers, body: formEncode(String(answer.body)) };
}

function redeem(core: ProviderCore, request: LoggedRequest, client: FakeClient, jkt: string | undefined): Demand {
  const { form } = request;
  const { store } = core;
  const code = store.codes.get(form.get('code') ?? '');
  if (!code || code.grant.clientId !== client.clientId) throw invalidGrant('unknown code, or another client’s');
  if (code.used) {
    store.counters.codeReuses += 1;
    store.revokeGrant(code.grant);
    throw invalidGrant('the code was used before');
  }
  if (code.grant.revoked) throw invalidGrant('the consent was withdrawn');
  if (code.expiresAt < Date.now()) throw invalidGrant('the code has expired');
  const redirectUri = form.get('redirect_uri');
  if (code.redirectUriSent && redirectUri !== code.redirectUri) throw invalidGrant('redirect_uri differs');
  checkVerifier(core, code, form.get('code_verifier'));
  if (code.jkt !== undefined && code.jkt !== jkt)
    throw new ProtocolError('invalid_dpop_proof', 'the code is bound to another key');
  code.used = true;
  store.counters.codeExchanges += 1;
  const { grant } = code;
  if (jkt !== undefined && client.clientSecret === undefined && client.jwks === undefined) grant.jkt = jkt;
  return {
    request,
    grant,
    jkt,
    grantType: 'authorization_code',
    scope: grant.scope,
    resources: wished(form, grant.resources),
  };
}

function checkVerifier(core: ProviderCore, code: FakeCode, verifier: string | null): void {
  if (core.behaviour.pkce === 'ignored') return;
  if (code.challenge === undefined) {
    // A verifier without a challenge is a downgrade (RFC 9700 §4.8.2).
    if (verifier !== null) throw invalidGrant('code_verifier without a code_challenge');
    return;
  }
  const fits = verifier !== null && createHash('sha256').update(verifier).digest('base64url') === code.challenge;
  if (!fits) throw invalidGrant('code_verifier does not fit');
}

function refresh(core: ProviderCore, request: LoggedRequest, client: FakeClient, jkt: string | undefined): Demand {
  const { form } = request;
  const { store, behaviour } = core;
  const token = store.refreshTokens.get(form.get('refresh_token') ?? '');
  if (!token || token.grant.clientId !== client.clientId)
    throw invalidGrant('unknown refresh token, or another client’s');
  const { grant } = token;
  refuseReuse(core, token);
  if (token.revoked || grant.revoked) throw invalidGrant('the refresh token was revoked');
  if (token.expiresAt <= Date.now()) throw invalidGrant('the refresh token has expired');
  if (grant.jkt !== undefined && grant.jkt !== jkt)
    throw new ProtocolError('invalid_dpop_proof', 'bound to another key');
  const scope = form.get('scope') ?? grant.scope;
  const granted = new Set(grant.scope.split(' '));
  if (!scope.split(' ').every((part) => granted.has(part)))
    throw new ProtocolError('invalid_scope', 'wider than the grant');
  const resources = wished(form, grant.resources);
  if (behaviour.rotation === true) token.spentAt ??= Date.now();
  store.counters.refreshes += 1;
  return { request, grant, jkt, grantType: 'refresh_token', scope, resources, refreshToken: token.value };
}

function refuseReuse({ store, behaviour }: ProviderCore, token: FakeRefreshToken): void {
  if (token.spentAt === undefined || Date.now() - token.spentAt < behaviour.reuseGracePeriod) return;
  store.counters.refreshReuses += 1;
  if (behaviour.punishReuse && store.revokeGrant(token.grant)) store.counters.familiesRevoked += 1;
  throw invalidGrant('the refresh token was used before');
}

function wished(form: URLSearchParams, granted: string[]): string[] {
  const resources = form.getAll('resource');
  if (resources.length === 0) return granted;
  if (granted.length > 0 && !resources.every((resource) => granted.includes(resource))) {
    throw new ProtocolError('invalid_target', 'this resource was not granted');
  }
  return resources;
}

function invalidGrant(description: string): ProtocolError {
  return new ProtocolError('invalid_grant', description);
}
