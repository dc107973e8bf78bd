// The revocation endpoint (RFC 7009), with a record of what was asked.
import type { Answer } from './answer.js';
import type { FakeClient } from './behaviour.js';
import type { ProviderCore } from './core.js';
import type { LoggedRequest } from './request-log.js';

/** Revokes a token as far as `revocationScope` says. Unknown tokens are fine, as the RFC has it. */
export function revocationEndpoint(core: ProviderCore, request: LoggedRequest, client: FakeClient): Answer {
  const token = request.form.get('token') ?? '';
  const hint = request.form.get('token_type_hint') ?? undefined;
  const found = core.store.refreshTokens.get(token) ?? core.store.accessTokens.get(token);
  const own = found?.grant.clientId === client.clientId ? found : undefined;
  const effective = own !== undefined && core.store.isActive(token);
  core.revocations.push({ token, hint, clientId: client.clientId, effective });
  if (own) {
    own.revoked = true;
    if (core.behaviour.revocationScope === 'family') core.store.revokeGrant(own.grant);
    if (core.behaviour.revocationScope === 'user') core.store.revokeUser(own.grant.user.sub);
  }
  return { status: 200, headers: { 'cache-control': 'no-store' }, body: '' };
}
