// What the holder of a lease does when the refresh fails: who is to blame, what may be kept, and what the journal must
// say so that the next holder knows whether this refresh token may have been spent.
import { Injectable } from '@nestjs/common';
import { claimedSubject } from '../providers/identity.js';
import type { IssuedEarly } from '../providers/provider-call.js';
import { ProviderError } from '../providers/provider-fault.js';
import type { AccessToken } from './access-token.js';
import { GrantRepository, type GrantRow } from './grant.repository.js';
import { GrantVerdict } from './grant-verdict.service.js';
import { type Failed, GrantMoved, type Journal } from './lease.js';
import { LeaseRepository } from './lease.repository.js';
import { ProviderHealth } from './provider-health.service.js';
import { RefreshCommit } from './refresh-commit.service.js';
import { StoredTokens } from './stored-token.service.js';

/** Pause after an answer that would be the same again, seconds. */
const FUTILE_PAUSE = 30;

/** Settles refreshes that failed. The lease ends with it. */
@Injectable()
export class RefreshFaults {
  constructor(
    private readonly grants: GrantRepository,
    private readonly leases: LeaseRepository,
    private readonly stored: StoredTokens,
    private readonly commit: RefreshCommit,
    private readonly health: ProviderHealth,
    private readonly verdict: GrantVerdict,
  ) {}

  /**
   * Settles a failure.
   * @returns a token that somebody else has put there meanwhile
   * @throws what the caller is to see, or {@link GrantMoved}
   */
  async settle(at: Failed, error: unknown): Promise<AccessToken> {
    return error instanceof ProviderError ? this.#afterFault(at, error) : this.#afterOurs(at, error);
  }

  /** The database or the key ring is away. Had the provider answered, the commit outlasts that. */
  async #afterOurs(at: Failed, error: unknown): Promise<never> {
    const { row, lease, lostAnswers, early } = at;
    this.health.untried(row.provider);
    if (early) await this.#keepRefreshToken(at, early);
    else await this.leases.release(lease, { unanswered: true, lostAnswers, pause: 0 }).catch(() => undefined);
    throw error;
  }

  async #afterFault(at: Failed, error: ProviderError): Promise<AccessToken> {
    const { row, lease, lostAnswers, early } = at;
    if (error.identityChanged) {
      // Whether the provider is well again is for the next one to find out, and at once.
      this.health.untried(row.provider);
      const answer = await this.verdict.foreign(row);
      if (early) await this.#discard(row, early);
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
    await this.leases.release(lease, journal).catch(() => undefined);
    throw error;
  }

  /** Tokens were issued, but their ID token is refused, or could not be judged because its keys cannot be had. */
  async #afterRefusedAnswer(at: Failed, early: IssuedEarly, error: ProviderError): Promise<AccessToken> {
    const { row, lease, refreshToken } = at;
    const rotated = early.refreshToken !== null && early.refreshToken !== refreshToken;
    this.verdict.judge(row, error);
    if (error.code === 'provider_unavailable' || error.code === 'provider_error') {
      await this.#keepRefreshToken(at, early);
      throw error;
    }
    // The one that was sent stays the grant's where it came back as it was.
    await this.#discard(row, rotated ? early : { ...early, refreshToken: null });
    // A rotating provider has spent the stored one: sending it again would only look like theft.
    if (rotated) throw await this.verdict.condemn(row, 'answer_refused');
    await this.leases.release(lease, { unanswered: false, lostAnswers: 0, pause: FUTILE_PAUSE }).catch(() => undefined);
    throw error;
  }

  /**
   * What came with a refused answer is revoked, in the name of whom its ID token claims to be about: where one revocation
   * ends everything of a user, that person's living grants are waited for.
   */
  async #discard(row: GrantRow, early: IssuedEarly): Promise<void> {
    const claimed = early.idToken === null ? null : claimedSubject(early.idToken);
    await this.commit.discard(claimed === null ? row : { ...row, subject: claimed }, early).catch(() => undefined);
  }

  /** The access token was not judged to the end and is not believed; the refresh token may be the only one that still works. */
  async #keepRefreshToken({ row, wish, lease, refreshToken }: Failed, early: IssuedEarly): Promise<void> {
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
      return (usable ? await this.stored.open(now, wish.audience) : null) ?? GrantMoved.at(now);
    }
    throw await this.verdict.condemn(row, 'invalid_grant');
  }
}
