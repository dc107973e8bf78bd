// Makes ID tokens (OpenID Connect Core §2) and the claims about a user.
import { createHash } from 'node:crypto';
import { CompactEncrypt, importJWK, type JWK } from 'jose';
import type { FakeUser, JsonObject } from './behaviour.js';
import type { ProviderCore } from './core.js';
import type { LoggedRequest } from './request-log.js';
import type { FakeGrant } from './token-store.js';

/** What an ID token is made for. */
export interface IdTokenOccasion {
  grant: FakeGrant;
  accessToken: string;
  request: LoggedRequest;
  grantType: 'authorization_code' | 'refresh_token';
}

/** A signed ID token, encrypted besides if the client registered a key for that. */
export async function makeIdToken(core: ProviderCore, occasion: IdTokenOccasion): Promise<string> {
  const { grant, request, grantType } = occasion;
  const { clientId } = grant;
  const context = { request, clientId, sub: grant.user.sub, grantType };
  const signed = core.sign('idToken', idTokenClaims(core, occasion), { context });
  const key = core.clients.get(clientId)?.idTokenEncryptionKey;
  return core.remember('idToken', key ? await encrypted(signed, key) : signed, grant);
}

function idTokenClaims(core: ProviderCore, { grant, accessToken, grantType }: IdTokenOccasion): JsonObject {
  const { behaviour } = core;
  const now = core.now();
  const claims: JsonObject = {
    iss: core.issuer,
    sub: grant.user.sub,
    aud: grant.clientId,
    exp: now + behaviour.idTokenLifetime,
    iat: now,
    auth_time: grant.authTime,
    acr: grant.acr,
    amr: behaviour.amr,
    sid: grant.sid,
    at_hash: leftHalfHash(accessToken, behaviour.idTokenAlg),
  };
  // The nonce answers the authorization request; a refresh has none (OpenID Connect Core §12.2).
  if (grantType === 'authorization_code') claims.nonce = grant.nonce;
  return behaviour.claimsInIdToken ? { ...userClaims(grant.user), ...claims } : claims;
}

/** What userinfo says about a user: all of it. */
export function userClaims(user: FakeUser): JsonObject {
  const { sid: _sid, ...claims } = user;
  return claims;
}

function leftHalfHash(text: string, alg: string): string {
  const digest = /(\d{3})$/.exec(alg)?.[1] ?? '512';
  const hash = createHash(`sha${digest === '519' ? '512' : digest}`)
    .update(text)
    .digest();
  return hash.subarray(0, hash.length / 2).toString('base64url');
}

async function encrypted(token: string, jwk: JsonObject): Promise<string> {
  const alg = jwk.kty === 'RSA' ? 'RSA-OAEP-256' : 'ECDH-ES';
  const key = await importJWK(jwk as JWK, alg);
  const header = { alg, enc: 'A256GCM', cty: 'JWT', ...(typeof jwk.kid === 'string' ? { kid: jwk.kid } : {}) };
  return new CompactEncrypt(Buffer.from(token)).setProtectedHeader(header).encrypt(key);
}
