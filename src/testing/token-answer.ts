// Makes the tokens of one answer of the token endpoint.
import { randomUUID } from 'node:crypto';
import type { JsonObject } from './behaviour.js';
import type { ProviderCore } from './core.js';
import { makeIdToken } from './id-token.js';
import { encodeJson, signCompact } from './jws.js';
import type { LoggedRequest } from './request-log.js';
import { newSecret, type FakeGrant } from './token-store.js';

/** What tokens are wanted for. */
export interface Demand {
  request: LoggedRequest;
  grant: FakeGrant;
  grantType: 'authorization_code' | 'refresh_token';
  /** Thumbprint of the key of the DPoP proof. */
  jkt: string | undefined;
  scope: string;
  resources: string[];
  /** The refresh token presented. */
  refreshToken?: string;
}

/** The members of the token answer. */
export async function tokenAnswer(core: ProviderCore, demand: Demand): Promise<JsonObject> {
  const { behaviour } = core;
  const { grant, request, grantType } = demand;
  const jkt = behaviour.dpopDowngrade ? undefined : demand.jkt;
  const scope = grantedScope(core, demand.scope);
  const accessToken = issueAccessToken(core, { ...demand, jkt, scope: scope ?? demand.scope });
  const body: JsonObject = {
    access_token: accessToken,
    token_type: jkt === undefined ? 'Bearer' : 'DPoP',
    expires_in: behaviour.expiresIn,
    refresh_token: issueRefreshToken(core, demand),
    scope,
    authorization_details: grant.authorizationDetails,
  };
  const idTokenDue = grantType === 'authorization_code' || behaviour.idTokenOnRefresh;
  if (behaviour.oidc && idTokenDue && demand.grant.scope.split(' ').includes('openid')) {
    body.id_token = await makeIdToken(core, { grant, accessToken, request, grantType });
  }
  return body;
}

function grantedScope({ behaviour }: ProviderCore, asked: string): string | undefined {
  const { scope } = behaviour;
  if (scope === undefined) return asked;
  if (scope === null) return undefined;
  return typeof scope === 'function' ? scope(asked) : scope;
}

function issueAccessToken(core: ProviderCore, demand: Demand): string {
  const { behaviour, store } = core;
  const { grant, jkt } = demand;
  grant.accessTokens += 1;
  const opaque = newSecret('at', behaviour.accessTokenSize);
  const lifetime = behaviour.accessTokenLifetime ?? statedLifetime(behaviour.expiresIn);
  const value = behaviour.accessTokenFormat === 'opaque' ? opaque : asJwt(core, demand, lifetime);
  store.accessTokens.set(value, {
    value,
    grant,
    scope: demand.scope,
    resources: demand.resources,
    expiresAt: Date.now() + lifetime * 1000,
    revoked: false,
    generation: grant.accessTokens,
    uses: 0,
    ...(jkt === undefined ? {} : { jkt }),
  });
  return core.remember('accessToken', value, grant);
}

function statedLifetime(expiresIn: unknown): number {
  const seconds = typeof expiresIn === 'string' ? Number(expiresIn) : expiresIn;
  return typeof seconds === 'number' && seconds > 0 ? seconds : Infinity;
}

/** An access token in the form of RFC 9068, signed with the ID token's key: a trap for clients that mix them up. */
function asJwt(core: ProviderCore, { grant, jkt, scope, resources }: Demand, lifetime: number): string {
  const now = core.now();
  const { kid, alg, privateKey } = core.keys.forAlgorithm('RS256');
  const payload = {
    iss: core.issuer,
    sub: grant.user.sub,
    aud: resources.length > 0 ? resources : core.issuer,
    client_id: grant.clientId,
    iat: now,
    exp: Number.isFinite(lifetime) ? now + lifetime : now + 86_400,
    jti: randomUUID(),
    scope,
    ...(jkt === undefined ? {} : { cnf: { jkt } }),
  };
  return signCompact(encodeJson({ alg, kid, typ: 'at+jwt' }), encodeJson(payload), alg, privateKey);
}

function issueRefreshToken(core: ProviderCore, { grant, refreshToken }: Demand): string | undefined {
  const { behaviour } = core;
  if (refreshToken !== undefined && behaviour.rotation !== true) {
    return behaviour.rotation === 'same' ? refreshToken : undefined;
  }
  const { issueRefreshToken: wanted } = behaviour;
  if (wanted === false && refreshToken === undefined) return undefined;
  if (wanted === 'offline_access' && !grant.scope.split(' ').includes('offline_access')) return undefined;
  const value = newSecret('rt');
  const expiresAt = Date.now() + (behaviour.refreshTokenLifetime ?? Infinity) * 1000;
  core.store.refreshTokens.set(value, { value, grant, revoked: false, expiresAt });
  return core.remember('refreshToken', value, grant);
}
