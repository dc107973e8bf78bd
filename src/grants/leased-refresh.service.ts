// What the holder of a lease does: journal, request, judgement of the answer, write-back. Every way out leaves the
// journal such that the next holder knows whether this refresh token may have been spent.
import { Injectable } from '@nestjs/common';
import { Sealer } from '../crypto/sealing.js';
import { OAuthError } from '../errors/oauth-error.js';
import { OAuthEvents } from '../events/oauth-events.service.js';
import { ResolvedOptions } from '../options/resolve-options.js';
import { ProviderError } from '../providers/provider-fault.js';
import type { Issued, Provider } from '../providers/provider.js';
import { ProviderRegistry } from '../providers/provider.registry.js';
import { AccessToken } from './access-token.js';
import type { RefreshWish } from './grant-ref.js';
import { dpopKeyContext, refreshTokenContext } from './grant-sealing.js';
import { GrantRepository, type GrantRow, ownerOf } from './grant.repository.js';
import { GrantVerdict } from './grant-verdict.service.js';
import { LeaseRepository, type LeaseRow } from './lease.repository.js';
import { ProviderHealth } from './provider-health.service.js';
import { RefreshCommit } from './refresh-commit.service.js';
import { RefreshedIdentity } from './refreshed-identity.service.js';
import { StoredTokens } from './stored-token.service.js';

/** A lease with all that its holder needs to know. Times are monotonic milliseconds. */
export interface Lease extends LeaseRow {
  readonly grantId: string;
  readonly version: number;
  readonly owner: string;
  readonly provider: Provider;
  /** The provider must have answered by then. */
  readonly deadline: number;
  readonly leaseEnd: number;
}

/** The grant is at another version now, and somebody should look again. */
export class GrantMoved extends Error {
  constructor(readonly row: GrantRow) {
    super('the grant moved on');
  }
}

/** Pause after an answer that would be the same again, seconds. */
const FUTILE_PAUSE = 30;

/** The journal as it should read after a lease. */
interface Journal {
  unanswered: boolean;
  lostAnswers: number;
  /** Seconds. */
  pause: number;
}

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
    await this.#release(lease, { unanswered: lease.unanswered, lostAnswers: lease.lost_answers, pause: 0 });
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
    let early: { accessToken: string; refreshToken: string | null } | undefined;
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
      if (!(error instanceof ProviderError)) {
        this.health.untried(row.provider);
        // The provider has answered; only the database or the key ring is away, which the commit outlasts.
        if (early) await this.#keepRefreshToken({ row, wish, lease, refreshToken }, early);
        else await this.#release(lease, { unanswered: true, lostAnswers, pause: 0 }).catch(() => undefined);
        throw error;
      }
      return this.#afterFault({ row, wish, lease, lostAnswers, refreshToken, early }, error);
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

  async #keep(at: Occasion, { tokens }: Issued, durationMs: number): Promise<AccessToken> {
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
      return (await this.stored.open(now, wish.audience)) ?? moved(now);
    }
    const written = commit.outcome === 'written' ? commit.written : undefined;
    const expiresAt =
      written?.expires_at ?? (tokens.expiresIn === null ? null : new Date(Date.now() + tokens.expiresIn * 1000));
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

  async #afterFault(at: Failed, error: ProviderError): Promise<AccessToken> {
    const { row, lease, lostAnswers, early } = at;
    if (error.identityChanged) {
      const answer = await this.verdict.foreign(row);
      if (early) await this.commit.discard(row, early).catch(() => undefined);
      throw answer;
    }
    if (error.oauthError === 'invalid_grant') {
      this.health.answered(row.provider);
      return this.#afterInvalidGrant(at);
    }
    if (early) return this.#afterRefusedAnswer(at, early, error);
    this.verdict.judge(row, error);
    if (this.verdict.isSecondRefusal(row, error)) throw await this.verdict.condemn(row, 'refused');
    // A status is an answer, and only an unreadable success may have spent the token: a passing 5xx costs nobody anything.
    const lost = error.ambiguous && (error.httpStatus ?? 0) < 400;
    const forgiving = lease.provider.definition.staticRefreshToken;
    const asked = error.askedToWait ?? 0;
    const journal: Journal = lost
      ? // One retry, after the lease: until then nobody sends this refresh token again.
        { unanswered: true, lostAnswers, pause: forgiving ? asked : (lease.leaseEnd - performance.now()) / 1000 }
      : { unanswered: lease.unanswered, lostAnswers: lease.lost_answers, pause: asked };
    await this.#release(lease, journal).catch(() => undefined);
    throw error;
  }

  /** Tokens were issued, but their ID token is refused, or could not be judged because its keys cannot be had. */
  async #afterRefusedAnswer(at: Failed, early: Early, error: ProviderError): Promise<AccessToken> {
    const { row, lease, refreshToken } = at;
    const rotated = early.refreshToken !== null && early.refreshToken !== refreshToken;
    this.verdict.judge(row, error);
    if (error.code === 'provider_unavailable' || error.code === 'provider_error') {
      await this.#keepRefreshToken(at, early);
      throw error;
    }
    await this.commit.discard(row, early).catch(() => undefined);
    // A rotating provider has spent the stored one: sending it again would only look like theft.
    if (rotated) throw await this.verdict.condemn(row, 'answer_refused');
    await this.#release(lease, { unanswered: false, lostAnswers: 0, pause: FUTILE_PAUSE }).catch(() => undefined);
    throw error;
  }

  /** The access token was not judged to the end and is not believed; the refresh token may be the only one that still works. */
  async #keepRefreshToken({ row, wish, lease, refreshToken }: Occasion, early: Early): Promise<void> {
    await this.commit.write({
      row,
      audience: wish.audience,
      spent: refreshToken,
      tokens: {
        refreshToken: early.refreshToken,
        accessToken: null,
        refreshExpiresIn: null,
        tokenType: 'Bearer',
        scope: row.scope,
        expiresIn: null,
      },
      underFloor: false,
      leaseEnd: lease.leaseEnd,
    });
  }

  /** Believed only after looking again: another process may have used this refresh token up rightfully. */
  async #afterInvalidGrant({ row, wish }: Failed): Promise<AccessToken> {
    const now = await this.grants.byId(row.id, wish.audience);
    if (now?.status === 'active' && now.version !== row.version) {
      const usable = now.token_stamp !== wish.unwanted && (now.ttl === null || now.ttl > 0);
      return (usable ? await this.stored.open(now, wish.audience) : null) ?? moved(now);
    }
    throw await this.verdict.condemn(row, 'invalid_grant');
  }

  async #release(lease: Lease, { unanswered, lostAnswers, pause }: Journal): Promise<void> {
    await this.leases.releaseLease({ grantId: lease.grantId, owner: lease.owner, unanswered, lostAnswers, pause });
  }
}

function moved(row: GrantRow): never {
  throw new GrantMoved(row);
}

type Early = { accessToken: string; refreshToken: string | null };

interface Occasion {
  row: GrantRow;
  wish: RefreshWish;
  lease: Lease;
  refreshToken: string;
}

interface Failed extends Occasion {
  lostAnswers: number;
  early: Early | undefined;
}
