// An ID token that comes with a refresh must be about the same person and the same login (OIDC Core §12.2).
import { Injectable } from '@nestjs/common';
import { Sealer } from '../crypto/sealing.js';
import { assertIdTokenClaims, CLOCK_TOLERANCE } from '../providers/id-token.js';
import { unjudgedClaims } from '../providers/identity.js';
import { ProviderError } from '../providers/provider-fault.js';
import { idTokenContext } from './grant-sealing.js';
import type { GrantRow } from './grant.repository.js';
import { SessionIdTokenRepository } from './session-id-token.repository.js';

type Claims = Readonly<Record<string, unknown>>;

/** A session with its last good ID token. */
interface Original {
  readonly sessionId: string;
  readonly sealed: string;
  readonly sid: string | null;
  readonly claims: Claims;
  /** The refresh token stems from its login. */
  readonly origin: boolean;
}

/** Judges ID tokens of refreshes. Signature, issuer, audience and expiry were judged before. */
@Injectable()
export class RefreshedIdentity {
  constructor(
    private readonly idTokens: SessionIdTokenRepository,
    private readonly sealer: Sealer,
  ) {}

  /** @throws {ProviderError} `invalid_id_token`, with `identityChanged` for another subject */
  async check(row: GrantRow, claims: Claims, clientId: string): Promise<void> {
    const { provider } = row;
    if (claims.sub !== row.subject) throw refused(provider, 'is about somebody else', true);
    assertIdTokenClaims(claims, { provider, clientId, acrValues: [] });
    if (claims.nonce === undefined && claims.auth_time === undefined && claims.azp === undefined) return;
    const originals = await this.#originals(row.id);
    // Sessions of one account share its grant. Once that one has ended whose login brought the refresh token, the others
    // say nothing: theirs were other logins from the beginning.
    if (originals.some(({ origin }) => origin) && !originals.some((original) => belongs(claims, original.claims)))
      throw refused(provider, 'belongs to another login ("nonce", "auth_time", "azp" or "iat" changed)', false);
  }

  /**
   * Keeps an ID token that was found good, as the next `id_token_hint` of those sessions whose login it is about: it
   * must name the same session at the provider, or logging out would end another one.
   */
  async keep(row: GrantRow, idToken: string, claims: Claims): Promise<void> {
    const originals = await this.#originals(row.id);
    const own = originals.filter(({ sid, claims: old }) => sid === (claims.sid ?? null) && belongs(claims, old));
    if (own.length === 0) return;
    const rows = own.map(async ({ sessionId, sealed: old }) => ({
      sessionId,
      old,
      sealed: await this.sealer.seal(idTokenContext(sessionId), idToken),
    }));
    await this.idTokens.replace(await Promise.all(rows));
  }

  async #originals(grantId: string): Promise<Original[]> {
    const stored = await this.idTokens.ofGrant(grantId);
    const opened = stored.map(async ({ session_id: sessionId, id_token: sealed, sid, auth_time: authTime, origin }) => {
      const token = await this.sealer.open(idTokenContext(sessionId), sealed).catch(() => null);
      const claims = token === null ? null : unjudgedClaims(token);
      // An ID token of a refresh may leave out when the person logged in; the session remembers it.
      const known = authTime === null ? {} : { auth_time: authTime };
      return claims === null ? null : { sessionId, sealed, sid, claims: { ...known, ...claims }, origin };
    });
    return (await Promise.all(opened)).filter((original) => original !== null);
  }
}

function belongs(claims: Claims, original: Claims): boolean {
  const same = (name: string): boolean =>
    claims[name] === undefined || original[name] === undefined || claims[name] === original[name];
  return (
    // A nonce that the login did not have cannot have come from it.
    (claims.nonce === undefined || claims.nonce === original.nonce) &&
    same('auth_time') &&
    same('azp') &&
    !(Number(claims.iat) < Number(original.iat) - CLOCK_TOLERANCE)
  );
}

function refused(provider: string, reason: string, identityChanged: boolean): ProviderError {
  return new ProviderError('invalid_id_token', {
    provider,
    httpStatus: 200,
    identityChanged,
    cause: new Error(`ID token at refresh: ${reason}`),
  });
}
