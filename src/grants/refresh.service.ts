// Refreshing one grant, once, among any number of callers and processes: one flight here, one lease everywhere.
// No connection, transaction or row lock is held while the provider is asked, nor while waiting. See docs/refresh.md.
import { type BeforeApplicationShutdown, Injectable, type OnApplicationShutdown } from '@nestjs/common';
import { randomId } from '../crypto/random.js';
import { OAuthError } from '../errors/oauth-error.js';
import type { Provider } from '../providers/provider.js';
import { ProviderRegistry } from '../providers/provider.registry.js';
import type { AccessToken } from './access-token.js';
import type { RefreshWish } from './grant-ref.js';
import { GrantRepository, type GrantRow } from './grant.repository.js';
import { GrantMoved } from './lease.js';
import { LeaseRepository } from './lease.repository.js';
import { LeaseWatch } from './lease-watch.service.js';
import { ProviderHealth } from './provider-health.service.js';
import { COMMIT_WINDOW, RefreshCommit } from './refresh-commit.service.js';
import { LeasedRefresh } from './leased-refresh.service.js';
import { StoredTokens } from './stored-token.service.js';
import { Turnstile } from './turnstile.js';

/** Refreshes at one provider at once in this process: deadlines run from the lease on, so nobody leases before its turn. */
const MAX_LEASES = 32;

interface Flight {
  readonly audience: string;
  readonly unwanted: string | null;
  readonly result: Promise<AccessToken>;
}

/** Refreshes grants. */
@Injectable()
export class Refresher implements BeforeApplicationShutdown, OnApplicationShutdown {
  readonly #flights = new Map<string, Flight>();
  readonly #turnstiles = new Map<string, Turnstile>();
  /** The pool is about to close: what holds a lease ends its work, and nobody takes one any more. */
  #closing = false;

  constructor(
    private readonly grants: GrantRepository,
    private readonly leases: LeaseRepository,
    private readonly stored: StoredTokens,
    private readonly leased: LeasedRefresh,
    private readonly commit: RefreshCommit,
    private readonly watch: LeaseWatch,
    private readonly health: ProviderHealth,
    private readonly providers: ProviderRegistry,
  ) {}

  /**
   * One flight per grant in this process; callers share an answer only when they want the same token and gave up the same.
   * @throws {OAuthError} `reauth_required`, `provider_unavailable`, `provider_error`, `client_rejected`, …
   */
  async refresh(row: GrantRow, wish: RefreshWish): Promise<AccessToken> {
    for (;;) {
      const flight = this.#flights.get(row.id);
      if (!flight) break;
      if (flight.audience === wish.audience && flight.unwanted === wish.unwanted) return flight.result;
      await flight.result.catch(() => undefined);
    }
    const result = this.#acrossProcesses(row, wish).finally(() => this.#flights.delete(row.id));
    this.#flights.set(row.id, { audience: wish.audience, unwanted: wish.unwanted, result });
    return result;
  }

  /** Refreshes under way end first, and what they brought is written. */
  async beforeApplicationShutdown(): Promise<void> {
    await this.#landed();
  }

  /**
   * Those too that began while the server was closing: by requests in flight, and behind callers' backs. They have until
   * here, for the pool closes next; a refresh that was not begun by now would lose the rotated token.
   */
  async onApplicationShutdown(): Promise<void> {
    this.#closing = true;
    this.watch.close();
    await this.#landed();
  }

  /** In this order: a flight may leave a token behind that is still to be written. */
  async #landed(): Promise<void> {
    await Promise.allSettled([...this.#flights.values()].map((flight) => flight.result));
    await this.commit.settled();
  }

  async #acrossProcesses(seen: GrantRow, wish: RefreshWish): Promise<AccessToken> {
    const provider = this.providers.get(seen.provider);
    const { timeout } = provider.definition;
    // Two leases: the one that somebody holds now, and the one of whoever takes over.
    const patience = performance.now() + 2 * (timeout + COMMIT_WINDOW);
    this.health.assertAdmitted(provider.name);
    // Metadata is loaded before anything is leased or noted: a failure there cannot have spent a refresh token.
    await this.leased.reach(seen);
    for (let row = seen; ;) {
      this.#assertOpen(row);
      if (row.pause_left !== null) throw this.#paused(row);
      const leave = await this.#turnstile(provider.name).enter();
      try {
        const token = await this.#leasing(row, wish, provider);
        if (token) return token;
      } catch (error) {
        if (!(error instanceof GrantMoved)) throw error;
        row = error.row;
        continue;
      } finally {
        leave();
      }
      if (performance.now() > patience) throw new OAuthError('provider_unavailable', { provider: row.provider });
      // The lease may have failed because the grant moved on: look before waiting.
      let now = await this.#reread(row.id, wish.audience);
      let token = await this.#settled(now, wish);
      if (!token && now.version === row.version && now.pause_left === null) {
        await this.watch.changed(row.id, row.version, patience - performance.now());
        now = await this.#reread(row.id, wish.audience);
        token = await this.#settled(now, wish);
      }
      if (token) return token;
      row = now;
    }
  }

  /** Takes the lease and refreshes; null when somebody else has it, or the grant moved on. */
  async #leasing(row: GrantRow, wish: RefreshWish, provider: Provider): Promise<AccessToken | null> {
    this.#assertOpen(row);
    this.health.assertAdmitted(provider.name);
    const { timeout } = provider.definition;
    const began = performance.now();
    const owner = randomId();
    const seconds = (timeout + COMMIT_WINDOW) / 1000;
    const taken = await this.leases.takeLease({ grantId: row.id, version: row.version, owner, seconds });
    if (!taken) return null;
    const [deadline, leaseEnd] = [began + timeout, began + timeout + COMMIT_WINDOW];
    const lease = { ...taken, grantId: row.id, version: row.version, owner, provider, deadline, leaseEnd };
    const { fresh, token } = await this.leased.guarded(lease, async () => {
      const fresh = await this.#reread(row.id, wish.audience);
      return { fresh, token: await this.#settled(fresh, wish) };
    });
    if (!token) return this.leased.run(fresh, wish, lease);
    await this.leased.giveBack(lease);
    return token;
  }

  #assertOpen({ provider }: GrantRow): void {
    if (this.#closing)
      throw new OAuthError('provider_unavailable', { provider, cause: new Error('the application is shutting down') });
  }

  #turnstile(provider: string): Turnstile {
    let turnstile = this.#turnstiles.get(provider);
    if (!turnstile) this.#turnstiles.set(provider, (turnstile = new Turnstile(MAX_LEASES)));
    return turnstile;
  }

  async #reread(grantId: string, audience: string): Promise<GrantRow> {
    const row = await this.grants.byId(grantId, audience);
    if (!row || row.status !== 'active') throw new OAuthError('reauth_required', row ? { provider: row.provider } : {});
    return row;
  }

  /** A token that somebody else has put there since: any but the unwanted one will do. */
  async #settled(row: GrantRow, wish: RefreshWish): Promise<AccessToken | null> {
    if (row.token === null || row.token_stamp === wish.unwanted) return null;
    // Already expired when it was issued: the floor says that asking again is no use.
    if (row.ttl !== null && row.ttl <= 0 && !(row.lifetime !== null && row.lifetime <= 0)) return null;
    return this.stored.open(row, wish.audience);
  }

  #paused(row: GrantRow): OAuthError {
    return new OAuthError('provider_unavailable', {
      provider: row.provider,
      retryAfter: Math.max(1, Math.ceil(row.pause_left ?? 0)),
      cause: new Error('the last refresh of this grant failed; it is left alone for a moment'),
    });
  }
}
