// Refreshing one grant, once, among any number of callers and processes: flight, lease, journal, compare-and-swap.
// No connection, transaction or row lock is held while the provider is asked.
import { setTimeout as sleep } from 'node:timers/promises';
import { Injectable } from '@nestjs/common';
import { randomId } from '../crypto/random.js';
import { Sealer } from '../crypto/sealing.js';
import { OAuthError } from '../errors/oauth-error.js';
import { OAuthEvents } from '../events/oauth-events.service.js';
import { ProviderError } from '../providers/provider-fault.js';
import type { Issued, Provider } from '../providers/provider.js';
import { ProviderRegistry } from '../providers/provider.registry.js';
import { AccessToken } from './access-token.js';
import { accessTokenContext, refreshTokenContext } from './grant-sealing.js';
import type { AccessTokenRequest } from './grant-ref.js';
import { GrantRepository, type GrantRow, type LeaseRow, ownerOf } from './grant.repository.js';
import { RevocationOutbox } from './revocation-outbox.service.js';
import { StoredTokens } from './stored-token.service.js';

/** Time to write the answer back after the provider's deadline, milliseconds. */
const COMMIT_WINDOW = 30_000;
/** How often a process that lost the lease looks again, milliseconds. */
const POLL_INTERVAL = 100;

/** What is to be refreshed. */
export interface RefreshWish extends Pick<AccessTokenRequest, 'resource' | 'scope'> {
  readonly audience: string;
  /** The sealed access token that is no longer wanted; any other stored one will do. */
  readonly unwanted: string | null;
}

/** Refreshes grants. */
@Injectable()
export class Refresher {
  readonly #flights = new Map<string, { audience: string; result: Promise<AccessToken> }>();

  constructor(
    private readonly grants: GrantRepository,
    private readonly stored: StoredTokens,
    private readonly outbox: RevocationOutbox,
    private readonly providers: ProviderRegistry,
    private readonly sealer: Sealer,
    private readonly events: OAuthEvents,
  ) {}

  /** One flight per grant in this process; callers share an answer only when they want the same token. */
  async refresh(row: GrantRow, wish: RefreshWish): Promise<AccessToken> {
    for (;;) {
      const flight = this.#flights.get(row.id);
      if (!flight) break;
      if (flight.audience === wish.audience) return flight.result;
      await flight.result.catch(() => undefined);
    }
    const result = this.#acrossProcesses(row, wish).finally(() => this.#flights.delete(row.id));
    this.#flights.set(row.id, { audience: wish.audience, result });
    return result;
  }

  async #acrossProcesses(seen: GrantRow, wish: RefreshWish): Promise<AccessToken> {
    const provider = this.providers.get(seen.provider);
    const patience = performance.now() + 2 * (provider.definition.timeout + COMMIT_WINDOW);
    for (let row = seen; ;) {
      const deadline = performance.now() + provider.definition.timeout;
      const lease = { grantId: row.id, version: row.version, owner: randomId() };
      const taken = await this.grants.takeLease({
        ...lease,
        seconds: (provider.definition.timeout + COMMIT_WINDOW) / 1000,
      });
      if (taken) {
        const fresh = await this.#reread(row.id, wish.audience);
        const settled = await this.#settled(fresh, wish);
        if (!settled) return this.#underLease(fresh, wish, { ...lease, ...taken, deadline, provider });
        await this.grants.releaseLease({ ...lease, answered: !taken.unanswered });
        return settled;
      }
      if (performance.now() > patience) throw new OAuthError('provider_unavailable', { provider: row.provider });
      await sleep(POLL_INTERVAL);
      row = await this.#reread(row.id, wish.audience);
      const settled = await this.#settled(row, wish);
      if (settled) return settled;
    }
  }

  async #reread(grantId: string, audience: string): Promise<GrantRow> {
    const row = await this.grants.byId(grantId, audience);
    if (!row || row.status !== 'active') throw new OAuthError('reauth_required', row ? { provider: row.provider } : {});
    return row;
  }

  /** A token that somebody else has put there since: any but the unwanted one will do. */
  async #settled(row: GrantRow, wish: RefreshWish): Promise<AccessToken | null> {
    if (row.token === null || row.token === wish.unwanted || (row.ttl !== null && row.ttl <= 0)) return null;
    return this.stored.open(row, wish.audience);
  }

  async #underLease(row: GrantRow, wish: RefreshWish, lease: Lease): Promise<AccessToken> {
    const { provider } = lease;
    let answered = !lease.unanswered;
    try {
      if (lease.refresh_token === null) throw new OAuthError('reauth_required', { provider: provider.name });
      // Sent before and never answered: once more is all that a rotating provider forgives.
      const lostAnswers = lease.unanswered ? lease.lost_answers + 1 : 0;
      if (lostAnswers > 1 && !provider.definition.staticRefreshToken) throw await this.#condemn(row, 'lost_answer');
      const refreshToken = await this.sealer.open(refreshTokenContext(ownerOf(row)), lease.refresh_token);
      const left = lease.deadline - performance.now();
      if (left <= 0 || !(await this.grants.noteSending({ ...lease, lostAnswers })))
        throw new OAuthError('provider_unavailable', { provider: provider.name });
      answered = false;
      const began = performance.now();
      const issued = await provider.refresh({
        refreshToken,
        grantedScope: row.scope,
        signal: AbortSignal.timeout(Math.max(1, Math.ceil(lease.deadline - performance.now()))),
        ...(wish.scope ? { scope: wish.scope } : {}),
        ...(wish.resource === undefined ? {} : { resource: [wish.resource] }),
      });
      return await this.#writeBack(row, wish, { issued, refreshToken, durationMs: performance.now() - began });
    } catch (error) {
      if (error instanceof ProviderError) {
        if (error.oauthError === 'invalid_grant') return this.#afterInvalidGrant(row, wish);
        answered = !error.ambiguous;
        this.#report(row, error);
      }
      await this.grants.releaseLease({ grantId: row.id, owner: lease.owner, answered });
      throw error;
    }
  }

  async #writeBack(
    row: GrantRow,
    wish: RefreshWish,
    answer: { issued: Issued; refreshToken: string; durationMs: number },
  ): Promise<AccessToken> {
    const { tokens, claims } = answer.issued;
    const owner = ownerOf(row);
    if (claims && claims.sub !== row.subject) throw await this.#foreign(row);
    const rotated = tokens.refreshToken !== null && tokens.refreshToken !== answer.refreshToken;
    const version = await this.grants.writeBack({
      grantId: row.id,
      version: row.version,
      audience: wish.audience,
      refreshToken: rotated ? await this.sealer.seal(refreshTokenContext(owner), tokens.refreshToken) : null,
      refreshExpiresIn: tokens.refreshExpiresIn,
      accessToken: await this.sealer.seal(accessTokenContext(owner, wish.audience), tokens.accessToken),
      tokenType: tokens.tokenType,
      scope: tokens.scope,
      expiresIn: tokens.expiresIn,
    });
    if (version === undefined) {
      // Logged out, or a newer login won: what was issued just now belongs to nobody.
      await this.outbox.add({
        ...owner,
        token: tokens.refreshToken ?? tokens.accessToken,
        hint: tokens.refreshToken === null ? 'access_token' : 'refresh_token',
      });
      const now = await this.#reread(row.id, wish.audience);
      return (await this.stored.open(now, wish.audience)) ?? this.#acrossProcesses(now, wish);
    }
    const expiresAt = tokens.expiresIn === null ? null : new Date(Date.now() + tokens.expiresIn * 1000);
    const token = new AccessToken({
      value: tokens.accessToken,
      type: tokens.tokenType,
      expiresAt,
      scope: tokens.scope,
    });
    this.stored.remember(row.id, wish.audience, { token, version, lifetime: tokens.expiresIn, ttl: tokens.expiresIn });
    this.events.emit('refreshed', {
      provider: row.provider,
      grantId: row.id,
      rotated,
      durationMs: Math.round(answer.durationMs),
    });
    return token;
  }

  /** Believed only after looking again: another process may have used this refresh token up rightfully. */
  async #afterInvalidGrant(row: GrantRow, wish: RefreshWish): Promise<AccessToken> {
    const now = await this.grants.byId(row.id, wish.audience);
    if (now?.status === 'active' && now.version !== row.version) {
      const token = await this.stored.open(now, wish.audience);
      if (token) return token;
    }
    throw await this.#condemn(row, 'invalid_grant');
  }

  async #condemn(row: GrantRow, reason: string): Promise<OAuthError> {
    if (await this.grants.markReauthRequired(row.id, row.version, reason)) {
      this.stored.forget(row.id, '');
      this.events.emit('reauthRequired', {
        provider: row.provider,
        grantId: row.id,
        accountId: row.account_id,
        reason,
      });
    }
    return new OAuthError('reauth_required', { provider: row.provider });
  }

  async #foreign(row: GrantRow): Promise<OAuthError> {
    this.events.emit('subjectMismatch', { provider: row.provider, grantId: row.id, accountId: row.account_id });
    return this.#condemn(row, 'subject_mismatch');
  }

  #report(row: GrantRow, error: ProviderError): void {
    const reason = error.oauthError ?? (error.cause instanceof Error ? error.cause.message : error.code);
    this.events.emit('refreshFailed', { provider: row.provider, grantId: row.id, code: error.code, reason });
    if (error.code === 'client_rejected') {
      this.events.emit('alarm', {
        code: error.code,
        provider: row.provider,
        message: `provider "${row.provider}" refuses this client (${reason}); check its credentials`,
      });
    }
  }
}

interface Lease extends LeaseRow {
  grantId: string;
  version: number;
  owner: string;
  /** Monotonic milliseconds. */
  deadline: number;
  provider: Provider;
}
