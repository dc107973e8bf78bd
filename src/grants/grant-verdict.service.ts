// What a refresh that went wrong means: for the grant, for the sessions behind it, and for the provider's reputation.
import { Injectable } from '@nestjs/common';
import { lockKey } from '../crypto/digest.js';
import { Database } from '../database/database.service.js';
import { OAuthError } from '../errors/oauth-error.js';
import { OAuthEvents } from '../events/oauth-events.service.js';
import { ResolvedOptions } from '../options/resolve-options.js';
import type { ProviderError } from '../providers/provider-fault.js';
import type { GrantRow } from './grant.repository.js';
import { LeaseRepository } from './lease.repository.js';
import { ProviderHealth, reasonOf } from './provider-health.service.js';
import { RevocationOutbox } from './revocation-outbox.service.js';
import { StoredTokens } from './stored-token.service.js';

/** Refusals that say what they mean, and nothing about the grant. */
const CLASSIFIED = [
  'invalid_scope',
  'invalid_target',
  'unsupported_grant_type',
  'use_dpop_nonce',
  'invalid_dpop_proof',
];

/** Passes judgement on grants. */
@Injectable()
export class GrantVerdict {
  /** Grants whose refresh was answered by an unclassified 400, by grant id. */
  readonly #refusals = new Map<string, { version: number; at: number }>();

  constructor(
    private readonly leases: LeaseRepository,
    private readonly stored: StoredTokens,
    private readonly health: ProviderHealth,
    private readonly database: Database,
    private readonly events: OAuthEvents,
    private readonly outbox: RevocationOutbox,
    private readonly options: ResolvedOptions,
  ) {}

  /** The grant was refreshed: earlier refusals were no sign of its end. */
  exonerate(grantId: string): void {
    this.#refusals.delete(grantId);
  }

  /** Some servers say it otherwise: a second unclassified 400, past the floor, while others succeed there. */
  isSecondRefusal(row: GrantRow, error: ProviderError): boolean {
    if (error.httpStatus !== 400 || error.code === 'client_rejected') return false;
    if (CLASSIFIED.includes(error.oauthError ?? '')) return false;
    const first = this.#refusals.get(row.id);
    const now = performance.now();
    if (!first || first.version !== row.version) {
      this.#refusals.set(row.id, { version: row.version, at: now });
      if (this.#refusals.size > 10_000) this.#refusals.delete(this.#refusals.keys().next().value!);
      return false;
    }
    return (
      now - first.at >= this.options.refresh.floor * 1000 && this.health.othersSucceeded(row.provider, row.id, first.at)
    );
  }

  /** The provider no longer accepts this grant: its user must connect again. @returns the error to throw */
  async condemn(row: GrantRow, reason: string): Promise<OAuthError> {
    if (await this.leases.markReauthRequired(row.id, row.version, reason)) {
      this.stored.forgetGrant(row.id);
      const { provider, id: grantId, account_id: accountId } = row;
      this.events.emit('reauthRequired', { provider, grantId, accountId, reason });
      this.outbox.wake();
    }
    return new OAuthError('reauth_required', { provider: row.provider });
  }

  /** The answer is about somebody else: nothing of it is kept, and whoever logged in with this grant is logged out. */
  async foreign(row: GrantRow): Promise<OAuthError> {
    const { provider, id: grantId, account_id: accountId } = row;
    const ended = await this.database.transaction([lockKey('sub', row.issuer, row.subject)], (tx) =>
      this.leases.endForeign(tx, grantId, row.version),
    );
    if (ended) {
      this.stored.forgetGrant(grantId);
      this.events.emit('subjectMismatch', { provider, grantId, accountId });
      this.outbox.wake();
      if (ended.length > 0)
        this.events.emit('logout', {
          userId: ended[0]!.user_id,
          sessionIds: ended.map((item) => item.id),
          by: 'security',
        });
    }
    return new OAuthError('reauth_required', { provider });
  }

  /** What a failed request says about the provider: the breaker, and the operator's alarm. */
  judge(row: GrantRow, error: ProviderError): void {
    const reason = reasonOf(error);
    this.events.emit('refreshFailed', { provider: row.provider, grantId: row.id, code: error.code, reason });
    const refusal = error.httpStatus !== undefined && error.httpStatus < 429 && error.code !== 'client_rejected';
    if (refusal && !error.ambiguous) {
      // The provider is there and dislikes this one request.
      this.health.answered(row.provider);
      return;
    }
    const opened = this.health.failed(row.provider, error);
    if (error.code === 'client_rejected' && opened) {
      this.events.emit('alarm', {
        code: error.code,
        provider: row.provider,
        message: `provider "${row.provider}" refuses this client (${reason}); check its credentials`,
      });
    }
  }
}
