// A provider's public keys, and signatures checked with them. Fetched again for an unknown `kid` at once, but boundedly.
import { createLocalJWKSet, errors, type JSONWebKeySet, type JWTHeaderParameters } from 'jose';
import { assertSigned, type Finder, type Jws, parsedJws } from './jws.js';
import { ProviderError, outline } from './provider-fault.js';
import { parseJsonObject } from './strict-json.js';

/** Keys older than this are fetched again, so that a withdrawn key is refused in time. Milliseconds. */
const MAX_AGE = 300_000;
/** While the key endpoint is down, older keys are still believed for this long. Milliseconds. */
const MAX_STALE = 3_600_000;
/** At most one fetch for unknown key ids of one origin in this time, however many tokens name one. Milliseconds. */
const COOLDOWN = 10_000;
/** More keys than this are no key set but an attack. */
const MAX_KEYS = 100;

/**
 * Where a JWT comes from: the answer to a login or a refresh of ours, a logout token, or a browser's hand. Anybody can send
 * the last two with a key that nobody has; each origin has its cooldown, so that they spend none but their own.
 */
export type JwsOrigin = 'answer' | 'refresh' | 'logout' | 'browser';

/** How a JWS is checked. */
export interface JwsCheck {
  /** @defaultValue `'answer'` */
  readonly origin?: JwsOrigin;
  /** Ends the wait for keys; the fetch itself goes on for others. */
  readonly signal?: AbortSignal | undefined;
}

/** The keys of one fetch. */
interface Keys {
  readonly find: Finder;
  readonly fetchedAt: number;
  /** Which fetch it was. */
  readonly number: number;
}

/** The cached key set of one issuer. */
export class KeySet {
  #keys: Keys | undefined;
  #fetching: Promise<Keys> | undefined;
  /** Fetches begun so far. */
  #begun = 0;
  readonly #lastForced = new Map<JwsOrigin, number>();
  #lastFailure = -Infinity;

  /**
   * @param provider name of the provider, for errors
   * @param download fetches the raw JWKS document
   * @param now monotonic milliseconds
   */
  constructor(
    private readonly provider: string,
    private readonly download: () => Promise<string>,
    private readonly now: () => number = () => performance.now(),
  ) {}

  /**
   * Checks the signature of a compact JWS against the key set.
   * @param algorithms accepted values of `alg`
   * @returns the protected header and the payload's bytes
   * @throws {ProviderError} `invalid_id_token` when the signature, algorithm or key is wrong; `provider_unavailable` when
   * a refresh names a key that is not published (yet), or the wait for keys is ended
   */
  async verify(
    jws: string,
    algorithms: readonly string[],
    { origin = 'answer', signal }: JwsCheck = {},
  ): Promise<{ header: JWTHeaderParameters; payload: Uint8Array }> {
    try {
      // Judged before any key is fetched: a token that cannot pass costs nobody a request.
      const parsed = parsedJws(jws, algorithms);
      const since = this.#begun;
      await this.#assertSigned(parsed, await this.#current(signal), { origin, signal, since });
      return parsed;
    } catch (error) {
      if (error instanceof ProviderError) throw error;
      throw new ProviderError('invalid_id_token', { provider: this.provider, cause: outline(error) });
    }
  }

  /** @param check.since fetches that were begun before the token came */
  async #assertSigned(
    jws: Jws,
    given: Keys,
    { origin, signal, since }: { origin: JwsOrigin; since: number } & Pick<JwsCheck, 'signal'>,
  ): Promise<void> {
    for (let keys = given; ; keys = await this.#awaited(this.#fetch(), signal)) {
      try {
        return await assertSigned(jws, keys.find);
      } catch (error) {
        // A key may have been replaced under its old name, or have none: then the signature fails instead.
        const unknown = error instanceof errors.JWKSNoMatchingKey;
        if (!(unknown || error instanceof errors.JWSSignatureVerificationFailed)) throw error;
        // Keys that were asked for after the token came are as good as they get.
        const fresh = keys.number > since;
        // Where somebody is looking already, all who come meanwhile see what he finds.
        if (!fresh && this.#fetching) continue;
        if (fresh || this.now() - (this.#lastForced.get(origin) ?? -Infinity) < COOLDOWN) {
          if (!unknown || origin !== 'refresh') throw error;
          // Nothing is known about this key yet (a cache may publish it later than it signs): no reason to throw away the
          // refresh token that came with it.
          throw new ProviderError('provider_unavailable', { provider: this.provider, cause: outline(error) });
        }
        this.#lastForced.set(origin, this.now());
      }
    }
  }

  async #current(signal: AbortSignal | undefined): Promise<Keys> {
    const age = this.#keys ? this.now() - this.#keys.fetchedAt : Infinity;
    if (this.#keys && age < MAX_AGE) return this.#keys;
    const usable = age < MAX_STALE ? this.#keys : undefined;
    // While the key endpoint is down, not every login waits for its deadline.
    if (usable && this.now() - this.#lastFailure < COOLDOWN) return usable;
    try {
      return await this.#awaited(this.#fetch(), signal);
    } catch (error) {
      this.#lastFailure = this.now();
      if (usable) return usable;
      throw error;
    }
  }

  /** A fetch is for all who wait for it; each waits only as long as it may. */
  async #awaited(fetching: Promise<Keys>, signal: AbortSignal | undefined): Promise<Keys> {
    if (!signal) return fetching;
    let end!: () => void;
    const ended = new Promise<never>((_, reject) => {
      const cause = new Error('the keys did not come in time');
      end = () => reject(new ProviderError('provider_unavailable', { provider: this.provider, cause }));
    });
    signal.addEventListener('abort', end);
    if (signal.aborted) end();
    return Promise.race([fetching, ended]).finally(() => signal.removeEventListener('abort', end));
  }

  #fetch(): Promise<Keys> {
    if (this.#fetching) return this.#fetching;
    const number = ++this.#begun;
    this.#fetching = this.download()
      .then((text) => (this.#keys = { find: createLocalJWKSet(usableKeys(text)), fetchedAt: this.now(), number }))
      .finally(() => (this.#fetching = undefined));
    return this.#fetching;
  }
}

/** Only public signature keys are kept, and none that is plainly short; their real size is judged where they are used. */
function usableKeys(text: string): JSONWebKeySet {
  const { keys } = parseJsonObject(text);
  if (!Array.isArray(keys) || keys.length > MAX_KEYS) throw new Error('the key set is not a list of at most 100 keys');
  const usable = keys.filter((key: unknown): key is JSONWebKeySet['keys'][number] => {
    if (typeof key !== 'object' || key === null) return false;
    const { kty, n, d, k, use } = key as Record<string, unknown>;
    if (d !== undefined || k !== undefined || (use !== undefined && use !== 'sig')) return false;
    if (kty === 'RSA') return typeof n === 'string' && Buffer.from(n, 'base64url').length >= 256;
    return kty === 'EC' || kty === 'OKP';
  });
  return { keys: usable };
}
