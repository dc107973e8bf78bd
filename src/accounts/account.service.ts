// Accounts for applications: which identities a user has, and disconnecting them.
import { Injectable } from '@nestjs/common';
import { asDate } from '../database/as-date.js';
import type { KnownAccount, OAuthUser } from '../options/login.js';
import { AccountUnlinker, type UnlinkOptions } from './account-unlinker.js';
import { AccountRepository, type AccountRow } from './account.repository.js';

/** An identity connected to a user. */
export interface OAuthAccount extends KnownAccount {
  readonly provider: string;
  readonly issuer: string;
  readonly subject: string;
  readonly lastLoginAt: Date;
}

/** Finds and disconnects accounts. */
@Injectable()
export class AccountService {
  constructor(
    private readonly accounts: AccountRepository,
    private readonly unlinker: AccountUnlinker,
  ) {}

  /** The account of an identity, or null at its first login. */
  async find(issuer: string, subject: string): Promise<OAuthAccount | null> {
    const row = await this.accounts.find(issuer, subject);
    return row ? accountOf(row) : null;
  }

  /** All identities of a user, the oldest first. */
  async list(user: OAuthUser | string): Promise<OAuthAccount[]> {
    return (await this.accounts.ofUser(typeof user === 'string' ? user : user.id)).map(accountOf);
  }

  /**
   * Disconnects an identity of a user: its sessions end, its grants are revoked at the provider. A later login with it
   * counts as that of a new user.
   * @returns false when the user has no such account
   * @throws {OAuthError} `last_account` for the user's only one, unless `evenLast`
   */
  async unlink(user: OAuthUser | string, accountId: string, options: UnlinkOptions = {}): Promise<boolean> {
    return this.unlinker.unlink(typeof user === 'string' ? user : user.id, accountId, options);
  }
}

function accountOf(row: AccountRow): OAuthAccount {
  return {
    id: row.id,
    provider: row.provider,
    issuer: row.issuer,
    subject: row.subject,
    userId: row.user_id,
    createdAt: asDate(row.created_at),
    lastLoginAt: asDate(row.last_login_at),
  };
}
