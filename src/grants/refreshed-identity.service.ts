// An ID token that comes with a refresh must be about the same person and the same login (OIDC Core §12.2).
import { Injectable } from '@nestjs/common';
import { Sealer } from '../crypto/sealing.js';
import { assertIdTokenClaims, CLOCK_TOLERANCE } from '../providers/id-token.js';
import { ProviderError } from '../providers/provider-fault.js';
import { idTokenContext } from './grant-sealing.js';
import { GrantRepository, type GrantRow } from './grant.repository.js';

type Claims = Readonly<Record<string, unknown>>;

/** Judges ID tokens of refreshes. Signature, issuer, audience and expiry were judged before. */
@Injectable()
export class RefreshedIdentity {
  constructor(
    private readonly grants: GrantRepository,
    private readonly sealer: Sealer,
  ) {}

  /** @throws {ProviderError} `invalid_id_token`, with `identityChanged` for another subject */
  async check(row: GrantRow, claims: Claims, clientId: string): Promise<void> {
    const { provider } = row;
    if (claims.sub !== row.subject) throw refused(provider, 'is about somebody else', true);
    assertIdTokenClaims(claims, { provider, clientId, acrValues: [] });
    if (claims.nonce === undefined && claims.auth_time === undefined && claims.azp === undefined) return;
    const originals = await this.#originals(row.id);
    // Sessions of one account share its grant, and it is not known which of their logins the refresh token stems from.
    if (originals.length > 0 && !originals.some((original) => belongs(claims, original)))
      throw refused(provider, 'belongs to another login ("nonce", "auth_time", "azp" or "iat" changed)', false);
  }

  async #originals(grantId: string): Promise<Claims[]> {
    const stored = await this.grants.idTokens(grantId);
    const opened = await Promise.all(
      stored.map(({ session_id: id, id_token: token }) =>
        this.sealer.open(idTokenContext(id), token).catch(() => null),
      ),
    );
    return opened.map((token) => (token === null ? null : claimsOf(token))).filter((claims) => claims !== null);
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

/** Claims of a token that was verified before it was stored; null for one that only its audience can read. */
function claimsOf(token: string): Claims | null {
  const parts = token.split('.');
  if (parts.length !== 3) return null;
  try {
    return JSON.parse(Buffer.from(parts[1]!, 'base64url').toString('utf8')) as Claims;
  } catch {
    return null;
  }
}

function refused(provider: string, reason: string, identityChanged: boolean): ProviderError {
  return new ProviderError('invalid_id_token', {
    provider,
    httpStatus: 200,
    identityChanged,
    cause: new Error(`ID token at refresh: ${reason}`),
  });
}
