// Ends grants that nothing needs any more, inside the transaction that ended their sessions.
import { Injectable } from '@nestjs/common';
import type { Queryable } from '../database/database.service.js';
import { ResolvedOptions } from '../options/resolve-options.js';
import { GrantRepository } from './grant.repository.js';
import { RevocationOutbox } from './revocation-outbox.service.js';

/** Ends grants and sees to their revocation. */
@Injectable()
export class GrantEnder {
  constructor(
    private readonly grants: GrantRepository,
    private readonly outbox: RevocationOutbox,
    private readonly options: ResolvedOptions,
  ) {}

  /** Ends the grants that the ended sessions were the last to use. The caller holds the identity's locks. */
  async endUnneeded(
    tx: Queryable,
    sessions: readonly { id: string; grant_id: string | null }[],
    reason = 'logout',
  ): Promise<void> {
    if (sessions.length === 0) return;
    const keep = this.options.providers.filter((provider) => provider.keepGrant).map((provider) => provider.name);
    const grantIds = sessions.flatMap((session) => session.grant_id ?? []);
    const unneeded = await this.grants.unneeded(
      tx,
      { sessionIds: sessions.map((session) => session.id), grantIds },
      keep,
    );
    await this.#end(tx, unneeded, reason);
  }

  /** Ends every grant of an account, needed or not. The caller holds the identity's locks. */
  async endAllOfAccount(tx: Queryable, accountId: string, reason: string): Promise<void> {
    await this.#end(tx, await this.grants.ofAccount(tx, accountId), reason);
  }

  /** Lets the outbox work; call it after the commit. */
  wake(): void {
    this.outbox.wake();
  }

  async #end(tx: Queryable, unneeded: Awaited<ReturnType<GrantRepository['unneeded']>>, reason: string): Promise<void> {
    if (unneeded.length === 0) return;
    const ids = unneeded.map((row) => row.id);
    await this.outbox.takeOver(tx, ids);
    await this.grants.end(tx, ids, reason);
  }
}
