// Access tokens for the application: always fresh, refreshed ahead of expiry, and sent only where they belong.
import { Injectable } from '@nestjs/common';
import { isId } from '../crypto/random.js';
import { OAuthError } from '../errors/oauth-error.js';
import { OAuthEvents } from '../events/oauth-events.service.js';
import type { OAuthProviderName } from '../options/app-types.js';
import { AuthUrls } from '../options/auth-urls.service.js';
import { ResolvedOptions } from '../options/resolve-options.js';
import { ProviderRegistry } from '../providers/provider.registry.js';
import type { AccessToken } from './access-token.js';
import {
  type AccessTokenRequest,
  audienceKey,
  type GrantRef,
  isSession,
  type RefreshWish,
  type UserGrant,
} from './grant-ref.js';
import { GrantRepository, type GrantRow } from './grant.repository.js';
import { isAging } from './refresh-ahead.js';
import { Refresher } from './refresh.service.js';
import { grantBehind } from './session-grant.js';
import { isFresh, StoredTokens } from './stored-token.service.js';

/** Renewals behind callers' backs at once in this process; the rest waits for the next caller. */
const MAX_BEHIND = 8;
/** A session's grant is taken from its lookup for this long; afterwards the database is asked again. Milliseconds. */
const SESSION_TRUST = 10_000;

/** The tokens of one user at one provider, for work without a request. It is itself a {@link GrantRef}. */
export interface UserTokens extends UserGrant {
  getAccessToken(request?: AccessTokenRequest): Promise<AccessToken>;
  fetch(url: string | URL, init?: RequestInit): Promise<Response>;
}

/** Gives out fresh access tokens, and calls APIs with them. */
@Injectable()
export class TokenService {
  #behind = 0;
  readonly #asked = new Map<string, Promise<GrantRow | undefined>>();

  constructor(
    private readonly grants: GrantRepository,
    private readonly stored: StoredTokens,
    private readonly refresher: Refresher,
    private readonly providers: ProviderRegistry,
    private readonly urls: AuthUrls,
    private readonly options: ResolvedOptions,
    /** Events about tokens: `refreshed`, `reauthRequired`, `revoked`, `subjectMismatch`, `providerUnavailable` and others. */
    readonly events: OAuthEvents,
  ) {}

  /**
   * A fresh access token of a session, a grant (by id) or a user at a provider. From memory where possible, else one
   * query; refreshed where needed, once, however many callers and processes want it.
   * @throws {OAuthError} `reauth_required` (with `reconnectUrl`), `provider_unavailable`, `provider_error`, `client_rejected`, `database_unavailable`, `key_unavailable`;
   * `unknown_provider` where the grant must be refreshed at a provider that is not configured any more
   */
  async getAccessToken(ref: GrantRef, request: AccessTokenRequest = {}): Promise<AccessToken> {
    const audience = audienceKey(request);
    return (
      this.#fromMemory(ref, audience, request) ??
      (await this.#token(await this.#grant(ref, audience), audience, request)).token
    );
  }

  /**
   * Calls an API with the access token in the `Authorization` header. The token goes only to the provider's
   * `apiOrigins`, is dropped on redirects to other origins, and a 401 of a server that got it costs one refresh and one retry.
   * Bodies that are streams cannot be sent twice: the token is renewed, their 401 is returned as it is, and the event
   * `retrySkipped` says so; the caller may send its request again.
   * @returns a WHATWG `Response`; read it, and never return it from a handler
   * @throws {OAuthError} as {@link getAccessToken}, and `origin_not_allowed`
   */
  async fetch(
    ref: GrantRef,
    url: string | URL,
    init: RequestInit & Pick<AccessTokenRequest, 'resource' | 'scope'> = {},
  ): Promise<Response> {
    const { resource, scope, ...rest } = init;
    const wish = { ...(resource === undefined ? {} : { resource }), ...(scope === undefined ? {} : { scope }) };
    const audience = audienceKey(wish);
    const row = await this.#grant(ref, audience);
    const { api } = this.providers.get(row.provider);
    // Before any token is fetched or refreshed: a wrong address costs nothing.
    await api.allowed(url);
    const first = await this.#token(row, audience, wish);
    const { response, tokenRejected } = await api.ask(await this.stored.sendable(first.token), url, rest);
    if (!tokenRejected) return response;
    if (!isReplayable(rest.body)) {
      await this.#afterRejection(row.id, audience, wish, first.token).catch(() => null);
      this.events.emit('retrySkipped', { provider: row.provider, grantId: row.id });
      return response;
    }
    let second: AccessToken | null;
    try {
      second = await this.#afterRejection(row.id, audience, wish, first.token);
    } catch (error) {
      await response.body?.cancel().catch(() => undefined);
      throw error;
    }
    if (!second || second.value === first.token.value) return response;
    // A body that broke off cannot be cancelled any more.
    await response.body?.cancel().catch(() => undefined);
    return api.fetch(await this.stored.sendable(second), url, rest);
  }

  /** The tokens of a user at a provider, for jobs: account-bound grants outlive the request, and the session where `keepGrant` says so. */
  forUser(userId: string, provider: OAuthProviderName): UserTokens {
    const ref: UserGrant = { userId, provider };
    return {
      ...ref,
      getAccessToken: (request) => this.getAccessToken(ref, request),
      fetch: (url, init) => this.fetch(ref, url, init),
    };
  }

  #fromMemory(ref: GrantRef, audience: string, { forceRefresh, minTtl }: AccessTokenRequest): AccessToken | undefined {
    if (forceRefresh || typeof ref === 'string' || !isSession(ref)) return undefined;
    const grant = grantBehind(ref);
    if (!grant || performance.now() - grant.asOf > SESSION_TRUST) return undefined;
    const cached = this.stored.remembered(grant.grantId, audience, grant.version);
    if (!cached) return undefined;
    // A login without a refresh token leaves the version alone, but may have brought a wider token.
    if (audience === '' && !ref.scope.every((item) => cached.token.scope.includes(item))) return undefined;
    const ttl = cached.expiresAt === Infinity ? null : (cached.expiresAt - performance.now()) / 1000;
    // A token due for renewal takes the slow way, which also renews it behind.
    const aging = isAging(grant.grantId, { ttl, lifetime: cached.lifetime }, this.options.refresh.ahead);
    return isFresh(ttl, cached.lifetime, minTtl) && !aging ? cached.token : undefined;
  }

  async #grant(ref: GrantRef, audience: string): Promise<GrantRow> {
    const row = await this.#findOnce(ref, audience);
    if (!row)
      throw new OAuthError('reauth_required', this.#reconnect(typeof ref === 'object' ? ref.provider : undefined));
    if (row.status !== 'active') throw new OAuthError('reauth_required', this.#reconnect(row.provider));
    return row;
  }

  /** All who ask for the same in one turn of the event loop share one query; nobody joins a query that was already sent. */
  #findOnce(ref: GrantRef, audience: string): Promise<GrantRow | undefined> {
    const who = typeof ref === 'string' ? ref : isSession(ref) ? ['session', ref.id] : [ref.userId, ref.provider];
    const key = JSON.stringify([who, audience]);
    let asked = this.#asked.get(key);
    if (!asked) {
      asked = new Promise<void>((resolve) => setImmediate(resolve)).then(() => {
        this.#asked.delete(key);
        return this.#find(ref, audience);
      });
      this.#asked.set(key, asked);
    }
    return asked;
  }

  async #find(ref: GrantRef, audience: string): Promise<GrantRow | undefined> {
    if (typeof ref === 'string') return isId(ref) ? this.grants.byId(ref, audience) : undefined;
    if (!isSession(ref)) return this.grants.byUser(ref.userId, ref.provider, audience);
    return isId(ref.id) ? this.grants.bySession(ref.id, audience) : undefined;
  }

  async #token(row: GrantRow, audience: string, request: AccessTokenRequest): Promise<{ token: AccessToken }> {
    const fresh = isFresh(row.ttl, row.lifetime, request.minTtl);
    const wish = { audience, unwanted: row.token_stamp, ...request };
    const underFloor = row.since_refresh !== null && row.since_refresh < this.options.refresh.floor;
    if (row.token !== null && ((fresh && !request.forceRefresh) || underFloor)) {
      const token = await this.stored.open(row, audience);
      if (token) {
        if (row.refreshable && !underFloor && isAging(row.id, row, this.options.refresh.ahead))
          this.#renewBehind(row, wish);
        return { token };
      }
    }
    return { token: await this.#refreshed(row, wish) };
  }

  /** The caller has its token already; what comes of this is seen by the next one. */
  #renewBehind(row: GrantRow, wish: RefreshWish): void {
    if (this.#behind >= MAX_BEHIND || row.pause_left !== null) return;
    this.#behind += 1;
    this.refresher
      .refresh(row, wish)
      .catch(() => undefined)
      .finally(() => (this.#behind -= 1));
  }

  async #refreshed(row: GrantRow, wish: RefreshWish): Promise<AccessToken> {
    if (!row.refreshable) {
      const rest = row.ttl === null || row.ttl > 0 ? await this.stored.open(row, wish.audience) : null;
      if (rest) return rest;
      throw new OAuthError('reauth_required', this.#reconnect(row.provider));
    }
    try {
      return await this.refresher.refresh(row, wish);
    } catch (error) {
      if (!(error instanceof OAuthError)) throw error;
      if (error.code === 'reauth_required')
        throw new OAuthError('reauth_required', { ...this.#reconnect(row.provider), cause: error });
      // The provider is away, but the token at hand is still good.
      const rest = row.ttl !== null && row.ttl > 0 ? await this.stored.open(row, wish.audience) : null;
      if (rest) return rest;
      throw error;
    }
  }

  /** Refreshes after a 401, but only if the rejected token is still the stored one; this may go under the floor. */
  async #afterRejection(
    grantId: string,
    audience: string,
    wish: AccessTokenRequest,
    rejected: AccessToken,
  ): Promise<AccessToken | null> {
    this.stored.forget(grantId, audience);
    const row = await this.grants.byId(grantId, audience);
    if (!row || row.status !== 'active') return null;
    const stored = await this.stored.open(row, audience);
    if (stored && stored.value !== rejected.value) return stored;
    const inFloor = row.since_refresh !== null && row.since_refresh < this.options.refresh.floor;
    // Under the floor once: an API that dislikes fresh tokens as well is not helped by more of them.
    if (!row.refreshable || (inFloor && row.under_floor)) return null;
    try {
      return await this.refresher.refresh(row, { audience, unwanted: row.token_stamp, ...wish });
    } catch (error) {
      if (!(error instanceof OAuthError) || error.code !== 'reauth_required') throw error;
      throw new OAuthError('reauth_required', { ...this.#reconnect(row.provider), cause: error });
    }
  }

  #reconnect(provider: string | undefined): { provider?: string; loginUrl?: string } {
    return provider === undefined ? {} : { provider, loginUrl: this.urls.login(provider) };
  }
}

function isReplayable(body: RequestInit['body']): boolean {
  return (
    !(body instanceof ReadableStream) &&
    !(typeof body === 'object' && body !== null && Symbol.asyncIterator in body && !(body instanceof Blob))
  );
}
