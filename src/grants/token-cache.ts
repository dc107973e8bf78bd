// Decrypted access tokens in memory, until they expire or their grant's version changes.
import type { AccessToken } from './access-token.js';

/** A cached token with what it was valid for. */
export interface CachedToken {
  readonly token: AccessToken;
  readonly version: number;
  /** Monotonic milliseconds of its expiry; Infinity where the provider does not say. */
  readonly expiresAt: number;
  /** Whole stated life in seconds; null where the provider does not say. */
  readonly lifetime: number | null;
}

const MAX_ENTRIES = 10_000;

/** A bounded map; the entry unused for longest goes first. */
export class TokenCache {
  readonly #entries = new Map<string, CachedToken>();

  /** The cached token of a grant at this very version. */
  get(grantId: string, audience: string, version: number): CachedToken | undefined {
    const key = `${grantId} ${audience}`;
    const entry = this.#entries.get(key);
    if (!entry) return undefined;
    this.#entries.delete(key);
    if (entry.version !== version || entry.expiresAt <= performance.now()) return undefined;
    this.#entries.set(key, entry);
    return entry;
  }

  /** Keeps a token. */
  set(grantId: string, audience: string, entry: CachedToken): void {
    const key = `${grantId} ${audience}`;
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    if (this.#entries.size > MAX_ENTRIES) this.#entries.delete(this.#entries.keys().next().value!);
  }

  /** Forgets one token. */
  delete(grantId: string, audience: string): void {
    this.#entries.delete(`${grantId} ${audience}`);
  }

  /** Forgets all tokens of a grant. */
  deleteGrant(grantId: string): void {
    for (const key of this.#entries.keys()) if (key.startsWith(`${grantId} `)) this.#entries.delete(key);
  }
}
