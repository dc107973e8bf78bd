// Disconnecting an identity: its sessions end, its grants are revoked, and a later login with it is a new user.
import { Injectable } from '@nestjs/common';
import { AccountUnlinker, type UnlinkOptions } from '../accounts/account-unlinker.js';
import { AccountRepository } from '../accounts/account.repository.js';
import { lockKey } from '../crypto/digest.js';
import { isId } from '../crypto/random.js';
import { Database } from '../database/database.service.js';
import { OAuthError } from '../errors/oauth-error.js';
import { OAuthEvents } from '../events/oauth-events.service.js';
import { GrantEnder } from '../grants/grant-ender.service.js';
import { LinkRepository } from './link.repository.js';

/** Disconnects identities. */
@Injectable()
export class UnlinkService extends AccountUnlinker {
  constructor(
    private readonly accounts: AccountRepository,
    private readonly links: LinkRepository,
    private readonly grants: GrantEnder,
    private readonly database: Database,
    private readonly events: OAuthEvents,
  ) {
    super();
  }

  async unlink(userId: string, accountId: string, { evenLast = false }: UnlinkOptions = {}): Promise<boolean> {
    const account = isId(accountId)
      ? (await this.accounts.ofUser(userId)).find(({ id }) => id === accountId)
      : undefined;
    if (!account) return false;
    const ended = await this.database.transaction([lockKey('sub', account.issuer, account.subject)], async (tx) => {
      const all = await this.links.lockAccounts(tx, userId);
      if (!all.includes(accountId)) return null;
      if (all.length === 1 && !evenLast) throw new OAuthError('last_account', { provider: account.provider });
      const sessions = await this.links.endSessions(tx, accountId);
      await this.grants.endAllOfAccount(tx, accountId, 'unlinked');
      await this.links.removeAccount(tx, accountId);
      return sessions;
    });
    if (!ended) return false;
    this.grants.wake();
    const sessionIds = ended.map(({ id }) => id);
    if (sessionIds.length > 0) this.events.emit('logout', { userId, sessionIds, by: 'user' });
    this.events.emit('unlinked', { provider: account.provider, userId, accountId });
    return true;
  }
}
