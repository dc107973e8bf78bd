// Opens stored access tokens, and judges whether they are still good for a request.
import { Injectable } from '@nestjs/common';
import { type SealContext, Sealer } from '../crypto/sealing.js';
import { asDate } from '../database/as-date.js';
import type { SentToken } from '../providers/provider-api.js';
import { AccessToken } from './access-token.js';
import { accessKeyContext, accessTokenContext, dpopKeyContext } from './grant-sealing.js';
import { type GrantRow, ownerOf } from './grant.repository.js';
import { type CachedToken, TokenCache } from './token-cache.js';

/** A private JWK, sealed. */
interface BoundKey {
  readonly sealed: string;
  readonly context: SealContext;
}

/** Default of `minTtl`, seconds. */
const MIN_TTL = 60;

/** The stored access tokens, decrypted once and kept in memory. */
@Injectable()
export class StoredTokens {
  readonly #cache = new TokenCache();
  /** Which key proves possession of a token: it belongs to the token, for the grant may have got another one meanwhile. */
  readonly #keys = new WeakMap<AccessToken, BoundKey>();

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
      expiresAt: row.expires_at && asDate(row.expires_at),
      scope: row.token_scope ?? [],
    });
    const owner = ownerOf(row);
    if (row.token_dpop_key !== null)
      this.bind(token, { sealed: row.token_dpop_key, context: accessKeyContext(owner, audience) });
    else if (row.dpop_key !== null) this.bind(token, { sealed: row.dpop_key, context: dpopKeyContext(owner) });
    this.remember(row.id, audience, { token, version: row.version, lifetime: row.lifetime, ttl: row.ttl });
    return token;
  }

  /** Notes the key that a token is bound to. */
  bind(token: AccessToken, key: BoundKey): void {
    this.#keys.set(token, key);
  }

  /** A token as it is sent to an API: with its key, if it is bound to one. */
  async sendable(token: AccessToken): Promise<SentToken> {
    const { value, type } = token;
    const key = type === 'DPoP' ? this.#keys.get(token) : undefined;
    return key ? { value, type, dpopKey: await this.sealer.open(key.context, key.sealed) } : { value, type };
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
