// Accounts for applications: which identities does a user have?
import { Injectable } from '@nestjs/common';
import type { KnownAccount, OAuthUser } from '../options/login.js';
import { AccountRepository, type AccountRow } from './account.repository.js';

/** An identity connected to a user. */
export interface OAuthAccount extends KnownAccount {
  readonly provider: string;
  readonly issuer: string;
  readonly subject: string;
  readonly lastLoginAt: Date;
}

/** Finds accounts. */
@Injectable()
export class AccountService {
  constructor(private readonly accounts: AccountRepository) {}

  /** The account of an identity, or null at its first login. */
  async find(issuer: string, subject: string): Promise<OAuthAccount | null> {
    const row = await this.accounts.find(issuer, subject);
    return row ? accountOf(row) : null;
  }

  /** All identities of a user, the oldest first. */
  async list(user: OAuthUser | string): Promise<OAuthAccount[]> {
    return (await this.accounts.ofUser(typeof user === 'string' ? user : user.id)).map(accountOf);
  }
}

function accountOf(row: AccountRow): OAuthAccount {
  return {
    id: row.id,
    provider: row.provider,
    issuer: row.issuer,
    subject: row.subject,
    userId: row.user_id,
    createdAt: row.created_at,
    lastLoginAt: row.last_login_at,
  };
}
