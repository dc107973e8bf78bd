// What the holder of a lease does: journal, request, judgement of the answer, write-back. What goes wrong is settled
// elsewhere; every way out leaves the journal such that the next holder knows whether this refresh token may be spent.
import { Injectable } from '@nestjs/common';
import { Sealer } from '../crypto/sealing.js';
import { asDate } from '../database/as-date.js';
import { OAuthError } from '../errors/oauth-error.js';
import { OAuthEvents } from '../events/oauth-events.service.js';
import { ResolvedOptions } from '../options/resolve-options.js';
import type { IssuedEarly } from '../providers/provider-call.js';
import { ProviderError } from '../providers/provider-fault.js';
import type { Issued } from '../providers/issued.js';
import { ProviderRegistry } from '../providers/provider.registry.js';
import { AccessToken } from './access-token.js';
import type { RefreshWish } from './grant-ref.js';
import { dpopKeyContext, refreshTokenContext } from './grant-sealing.js';
import { GrantRepository, type GrantRow, ownerOf } from './grant.repository.js';
import { GrantVerdict } from './grant-verdict.service.js';
import { GrantMoved, type Lease, type Occasion } from './lease.js';
import { LeaseRepository } from './lease.repository.js';
import { ProviderHealth } from './provider-health.service.js';
import { RefreshCommit } from './refresh-commit.service.js';
import { RefreshFaults } from './refresh-faults.service.js';
import { RefreshedIdentity } from './refreshed-identity.service.js';
import { StoredTokens } from './stored-token.service.js';

/** Carries out one refresh under its lease. */
@Injectable()
export class LeasedRefresh {
  constructor(
    private readonly grants: GrantRepository,
    private readonly leases: LeaseRepository,
    private readonly stored: StoredTokens,
    private readonly commit: RefreshCommit,
    private readonly identity: RefreshedIdentity,
    private readonly health: ProviderHealth,
    private readonly verdict: GrantVerdict,
    private readonly faults: RefreshFaults,
    private readonly providers: ProviderRegistry,
    private readonly sealer: Sealer,
    private readonly events: OAuthEvents,
    private readonly options: ResolvedOptions,
  ) {}

  /** Loads what is needed to talk to the provider. @throws {ProviderError} */
  async reach(row: GrantRow): Promise<void> {
    try {
      await this.providers.get(row.provider).metadata();
    } catch (error) {
      if (error instanceof ProviderError) this.verdict.judge(row, error);
      throw error;
    }
  }

  /** Gives an unused lease back: the journal reads as before. */
  async giveBack(lease: Lease): Promise<void> {
    await this.leases.release(lease, { unanswered: lease.unanswered, lostAnswers: lease.lost_answers, pause: 0 });
  }

  /** Runs something under a lease that is given back if it fails. */
  async guarded<T>(lease: Lease, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      await this.giveBack(lease).catch(() => undefined);
      throw error;
    }
  }

  /**
   * Refreshes. The lease ends with it, whatever happens.
   * @throws {GrantMoved} when the grant moved on meanwhile and still has no token for this wish
   */
  async run(row: GrantRow, wish: RefreshWish, lease: Lease): Promise<AccessToken> {
    const { refreshToken, dpopKey, lostAnswers } = await this.guarded(lease, () => this.#prepare(row, lease));
    let early: IssuedEarly | undefined;
    let issued: Issued;
    const began = performance.now();
    try {
      issued = await lease.provider.refresh({
        refreshToken,
        grantedScope: row.scope,
        signal: AbortSignal.timeout(Math.max(1, Math.ceil(lease.deadline - began))),
        onIssued: (tokens) => (early = tokens),
        dpopKey,
        ...(wish.scope ? { scope: wish.scope } : {}),
        ...(wish.resource === undefined ? {} : { resource: [wish.resource] }),
      });
      if (issued.claims) await this.identity.check(row, issued.claims, lease.provider.definition.clientId);
    } catch (error) {
      return this.faults.settle({ row, wish, lease, lostAnswers, refreshToken, early }, error);
    }
    this.health.answered(row.provider, row.id);
    this.verdict.exonerate(row.id);
    const durationMs = Math.round(performance.now() - began);
    return this.#keep({ row, wish, lease, refreshToken }, issued, durationMs);
  }

  /** Opens the refresh token and notes in the journal that it is about to be sent. */
  async #prepare(
    row: GrantRow,
    lease: Lease,
  ): Promise<{ refreshToken: string; dpopKey: string | undefined; lostAnswers: number }> {
    const { provider } = lease;
    if (lease.refresh_token === null) throw new OAuthError('reauth_required', { provider: provider.name });
    // Sent before and never answered: once more is all that a rotating provider forgives.
    const lostAnswers = lease.unanswered ? lease.lost_answers + 1 : 0;
    if (lostAnswers > 1 && !provider.definition.staticRefreshToken && this.health.isClosed(provider.name))
      throw await this.verdict.condemn(row, 'lost_answer');
    const refreshToken = await this.sealer.open(refreshTokenContext(ownerOf(row)), lease.refresh_token);
    const dpopKey =
      lease.dpop_key === null ? undefined : await this.sealer.open(dpopKeyContext(ownerOf(row)), lease.dpop_key);
    this.health.admit(provider.name);
    try {
      const noted = await this.leases.noteSending({ ...lease, lostAnswers });
      if (noted && performance.now() < lease.deadline) return { refreshToken, dpopKey, lostAnswers };
    } catch (error) {
      this.health.untried(provider.name);
      throw error;
    }
    // This process stood still for too long: the lease may be somebody else's.
    this.health.untried(provider.name);
    throw new OAuthError('provider_unavailable', { provider: provider.name, cause: new Error('the lease ran out') });
  }

  async #keep(at: Occasion, { tokens, claims }: Issued, durationMs: number): Promise<AccessToken> {
    const { row, wish, lease, refreshToken } = at;
    const commit = await this.commit.write({
      row,
      audience: wish.audience,
      spent: refreshToken,
      tokens,
      underFloor: row.since_refresh !== null && row.since_refresh < this.options.refresh.floor,
      leaseEnd: lease.leaseEnd,
    });
    if (commit.outcome === 'moved') {
      const now = await this.grants.byId(row.id, wish.audience);
      if (now?.status !== 'active') throw new OAuthError('reauth_required', { provider: row.provider });
      return (await this.stored.open(now, wish.audience)) ?? GrantMoved.at(now);
    }
    // The next `id_token_hint`; a session does well enough with the one it has.
    if (tokens.idToken !== null && claims) await this.identity.keep(row, tokens.idToken, claims).catch(() => undefined);
    const written = commit.outcome === 'written' ? commit.written : undefined;
    const expiresAt = written?.expires_at
      ? asDate(written.expires_at)
      : tokens.expiresIn === null
        ? null
        : new Date(Date.now() + tokens.expiresIn * 1000);
    const token = new AccessToken({
      value: tokens.accessToken,
      type: tokens.tokenType,
      expiresAt,
      scope: tokens.scope,
    });
    if (lease.dpop_key !== null)
      this.stored.bind(token, { sealed: lease.dpop_key, context: dpopKeyContext(ownerOf(row)) });
    if (written) {
      const { version } = written;
      this.stored.remember(row.id, wish.audience, {
        token,
        version,
        lifetime: tokens.expiresIn,
        ttl: tokens.expiresIn,
      });
    }
    const rotated = tokens.refreshToken !== null && tokens.refreshToken !== refreshToken;
    this.events.emit('refreshed', { provider: row.provider, grantId: row.id, rotated, durationMs });
    return token;
  }
}
