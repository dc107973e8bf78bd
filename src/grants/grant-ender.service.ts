// Ends grants that nothing needs any more, inside the transaction that ended their sessions.
import { Injectable } from '@nestjs/common';
import type { Queryable } from '../database/queryable.js';
import { ResolvedOptions } from '../options/resolve-options.js';
import { GrantEndRepository } from './grant-end.repository.js';
import { RevocationOutbox } from './revocation-outbox.service.js';

/** A session that ended, with the grant that it used. */
interface EndedSession {
  readonly id: string;
  readonly account_id: string;
  readonly grant_id: string | null;
  readonly provider: string;
}

/** Ends grants and sees to their revocation. */
@Injectable()
export class GrantEnder {
  constructor(
    private readonly grants: GrantEndRepository,
    private readonly outbox: RevocationOutbox,
    private readonly options: ResolvedOptions,
  ) {}

  /**
   * Ends the grants that the ended sessions were the last to use, or whose accounts have no session any more. The caller
   * holds the identity's locks.
   * @param keepOffline account-bound grants with `offline_access` stay
   */
  async endUnneeded(
    tx: Queryable,
    sessions: readonly EndedSession[],
    { keepOffline = false }: { keepOffline?: boolean } = {},
  ): Promise<void> {
    if (sessions.length === 0) return;
    const { providers } = this.options;
    const keep = providers.filter((provider) => provider.keepGrant).map((provider) => provider.name);
    // Where every session has a grant of its own, the account's was linked, and no session ever used it.
    const perSession = new Set(providers.filter(({ grant }) => grant === 'session').map(({ name }) => name));
    const unneeded = await this.grants.unneeded(tx, {
      sessionIds: sessions.map((session) => session.id),
      grantIds: sessions.flatMap((session) => session.grant_id ?? []),
      accountIds: sessions.filter(({ provider }) => !perSession.has(provider)).map((session) => session.account_id),
      keep,
      keepOffline,
    });
    await this.#end(tx, unneeded, 'logout');
  }

  /** Ends every grant of an account, needed or not. The caller holds the identity's locks. */
  async endAllOfAccount(tx: Queryable, accountId: string, reason: string): Promise<void> {
    await this.#end(tx, await this.grants.ofAccount(tx, accountId), reason);
  }

  /** Lets the outbox work; call it after the commit. */
  wake(): void {
    this.outbox.wake();
  }

  async #end(
    tx: Queryable,
    unneeded: Awaited<ReturnType<GrantEndRepository['unneeded']>>,
    reason: string,
  ): Promise<void> {
    if (unneeded.length === 0) return;
    const ids = unneeded.map((row) => row.id);
    await this.outbox.takeOver(tx, ids);
    await this.grants.end(tx, ids, reason);
  }
}
