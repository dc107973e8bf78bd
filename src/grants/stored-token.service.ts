// Opens stored access tokens, and judges whether they are still good for a request.
import { Injectable } from '@nestjs/common';
import { Sealer } from '../crypto/sealing.js';
import type { SentToken } from '../providers/provider-api.js';
import { AccessToken } from './access-token.js';
import { accessTokenContext, dpopKeyContext } from './grant-sealing.js';
import { type GrantRow, ownerOf } from './grant.repository.js';
import { type CachedToken, TokenCache } from './token-cache.js';

/** Default of `minTtl`, seconds. */
const MIN_TTL = 60;

/** The stored access tokens, decrypted once and kept in memory. */
@Injectable()
export class StoredTokens {
  readonly #cache = new TokenCache();

  constructor(private readonly sealer: Sealer) {}

  /** From memory alone: the token of a grant at a version that was just read from the database. */
  remembered(grantId: string, audience: string, version: number): CachedToken | undefined {
    return this.#cache.get(grantId, audience, version);
  }

  /** The token of a row, or null where it holds none. */
  async open(row: GrantRow, audience: string): Promise<AccessToken | null> {
    if (row.token === null || row.token_type === null) return null;
    const value = await this.sealer.open(accessTokenContext(ownerOf(row), audience), row.token);
    const token = new AccessToken({
      value,
      type: row.token_type,
      expiresAt: row.expires_at,
      scope: row.token_scope ?? [],
    });
    this.remember(row.id, audience, { token, version: row.version, lifetime: row.lifetime, ttl: row.ttl });
    return token;
  }

  /** A token as it is sent to an API: with its grant's key, if it is bound to one. */
  async sendable({ value, type }: AccessToken, row: GrantRow): Promise<SentToken> {
    if (type !== 'DPoP' || row.dpop_key === null) return { value, type };
    return { value, type, dpopKey: await this.sealer.open(dpopKeyContext(ownerOf(row)), row.dpop_key) };
  }

  /** Keeps a token in memory. @param entry.ttl seconds from now; null when unknown */
  remember(
    grantId: string,
    audience: string,
    { ttl, ...entry }: Omit<CachedToken, 'expiresAt'> & { ttl: number | null },
  ): void {
    this.#cache.set(grantId, audience, {
      ...entry,
      expiresAt: ttl === null ? Infinity : performance.now() + ttl * 1000,
    });
  }

  /** Forgets a token, for instance one that an API rejected. */
  forget(grantId: string, audience: string): void {
    this.#cache.delete(grantId, audience);
  }

  /** Forgets all tokens of a grant that ended. */
  forgetGrant(grantId: string): void {
    this.#cache.deleteGrant(grantId);
  }
}

/**
 * True when a token with this much left satisfies a caller: it lasts for `minTtl`, or for half of its stated life where
 * that is shorter (else very short-lived tokens would never do).
 * @param ttl seconds left; null when unknown, which counts as good
 */
export function isFresh(ttl: number | null, lifetime: number | null, minTtl = MIN_TTL): boolean {
  if (ttl === null) return true;
  return ttl > 0 && ttl > Math.min(minTtl, lifetime === null ? minTtl : lifetime / 2);
}
