// Revocation at the provider (RFC 7009), through a durable outbox: logging out never waits for it and never forgets it.
import { Injectable, Logger, type OnApplicationBootstrap, type OnApplicationShutdown } from '@nestjs/common';
import { randomId } from '../crypto/random.js';
import { claimedContext, type SealContext, Sealer } from '../crypto/sealing.js';
import type { Queryable } from '../database/queryable.js';
import { OAuthEvents } from '../events/oauth-events.service.js';
import { ProviderError } from '../providers/provider-fault.js';
import { ProviderRegistry } from '../providers/provider.registry.js';
import { revokesAccessTokens } from '../providers/revocation.js';
import { revocationContext, revocationContexts } from './grant-sealing.js';
import { RevocationRepository, type RevocationRow } from './revocation.repository.js';

/** Seconds between two looks into the outbox when nobody wakes it. */
const INTERVAL = 30;
/** A token is not believed to live longer than this: 30 days, in seconds. */
const LIFETIME = 2_592_000;
/** Revocations under way at once at one provider. */
const BATCH = 10;
/** Beyond the provider's deadline, others leave a claimed row alone for this long; then its owner was killed. Seconds. */
const GRACE = 5;

/** Revokes what is in the outbox, until the provider confirms or the token has expired. */
@Injectable()
export class RevocationOutbox implements OnApplicationBootstrap, OnApplicationShutdown {
  readonly #logger = new Logger('OAuth');
  #timer: NodeJS.Timeout | undefined;
  #working: Promise<void> | undefined;
  #again = false;
  /** Providers that have not answered yet, by name: their rows are left where they are, and hold up nobody else's. */
  readonly #busy = new Map<string, Promise<void>>();
  /** Rows may have been left so. */
  #leftSome = false;
  #stopped = false;

  constructor(
    private readonly revocations: RevocationRepository,
    private readonly providers: ProviderRegistry,
    private readonly sealer: Sealer,
    private readonly events: OAuthEvents,
  ) {}

  /**
   * Puts one of the tokens that were issued together into the outbox: the one whose revocation ends most. Call
   * {@link wake} once the transaction has committed.
   */
  async add(
    item: {
      provider: string;
      issuer: string;
      subject: string;
      refreshToken: string | null;
      accessToken: string | null;
    },
    tx?: Queryable,
  ): Promise<void> {
    const { provider, issuer, subject, accessToken } = item;
    const refreshToken = this.#accessOnly().includes(provider) ? null : item.refreshToken;
    const plain = refreshToken ?? accessToken;
    if (plain === null) return;
    const id = randomId();
    const token = await this.sealer.seal(revocationContext(id), plain);
    const hint = refreshToken === null ? 'access_token' : 'refresh_token';
    await this.revocations.insert({ id, provider, issuer, subject, hint, token, lifetime: LIFETIME }, tx);
  }

  /** Hands the secrets of grants that are just ending over to the outbox, in their transaction. Needs no key. */
  async takeOver(tx: Queryable, grantIds: readonly string[]): Promise<void> {
    const spareIds = grantIds.map(() => randomId());
    const accessOnly = this.#accessOnly();
    await this.revocations.insertOfGrants(tx, { ids: grantIds, spareIds, lifetime: LIFETIME, accessOnly });
  }

  /** Looks into the outbox soon. Returns at once. */
  wake(): void {
    if (this.#stopped) return;
    this.#again = true;
    this.#working ??= this.#work();
  }

  onApplicationBootstrap(): void {
    this.#timer = setInterval(() => this.wake(), INTERVAL * 1000).unref();
    this.wake();
  }

  /** Lets the revocation under way finish; the rest stays in the table. */
  async onApplicationShutdown(): Promise<void> {
    this.#stopped = true;
    clearInterval(this.#timer);
    await this.#working;
    await Promise.all(this.#busy.values());
  }

  /** Names of the providers that revoke access tokens alone. */
  #accessOnly(): string[] {
    return this.providers
      .list()
      .filter(({ definition }) => revokesAccessTokens(definition))
      .map(({ name }) => name);
  }

  async #work(): Promise<void> {
    try {
      await this.revocations.removeExpired();
      // Nothing is awaited between the last look at `#again` and the end: whoever calls meanwhile is heard.
      while (this.#again && !this.#stopped) {
        this.#again = false;
        const timeouts = this.providers.list().map((provider) => provider.definition.timeout / 1000);
        const busy = [...this.#busy.keys()];
        if (busy.length > 0) this.#leftSome = true;
        const due = await this.revocations.claim({ limit: BATCH, patience: Math.max(...timeouts) + GRACE, busy });
        for (const provider of new Set(due.map((row) => row.provider))) {
          const rows = due.filter((row) => row.provider === provider);
          this.#busy.set(provider, this.#revokeAll(provider, rows));
        }
        if (due.length === BATCH) this.#again = true;
      }
    } catch (error) {
      this.#logUnusable(error);
    } finally {
      this.#working = undefined;
    }
  }

  /** Goes on with what was left meanwhile. */
  async #revokeAll(provider: string, rows: readonly RevocationRow[]): Promise<void> {
    const outcomes = await Promise.allSettled(rows.map((row) => this.#revoke(row)));
    for (const outcome of outcomes) if (outcome.status === 'rejected') this.#logUnusable(outcome.reason);
    this.#busy.delete(provider);
    if (!this.#leftSome) return;
    this.#leftSome = false;
    this.wake();
  }

  #logUnusable(error: unknown): void {
    this.#logger.debug(
      `the revocation outbox could not be used: ${error instanceof Error ? error.message : 'unknown error'}`,
    );
  }

  async #revoke(row: RevocationRow): Promise<void> {
    try {
      if (!this.providers.has(row.provider)) return;
      const provider = this.providers.get(row.provider);
      // Where one revocation ends everything of the user, it waits for as long as the user has another grant.
      if (provider.definition.revocation === 'grant' && row.shared) {
        await this.revocations.leaveWaiting(row.id);
        return;
      }
      const contexts = revocationContexts(row) as [SealContext, ...SealContext[]];
      const token = await this.sealer.open(claimedContext(row.token, contexts), row.token);
      const revoked = await provider.revoke(token, row.hint);
      await this.revocations.remove(row.id);
      if (revoked) this.events.emit('revoked', { provider: row.provider });
    } catch (error) {
      const retryAfter = error instanceof ProviderError ? error.askedToWait : undefined;
      const seconds = retryAfter ?? Math.min(3600, 2 ** Math.min(row.attempts, 12));
      await this.revocations.postpone(row.id, seconds);
      setTimeout(() => this.wake(), Math.min(seconds, INTERVAL) * 1000 + 100).unref();
      this.#logger.debug(`a revocation at "${row.provider}" will be tried again in ${seconds} s`);
    }
  }
}
