// SQL of oauth_accounts, but for the one statement that writes a login.
import { Injectable } from '@nestjs/common';
import { Database } from '../database/database.service.js';

/** An account as read. */
export interface AccountRow {
  id: string;
  provider: string;
  issuer: string;
  subject: string;
  user_id: string;
  created_at: Date;
  last_login_at: Date;
}

const COLUMNS = 'id, provider, issuer, subject, user_id, created_at, last_login_at';

/** Accounts. */
@Injectable()
export class AccountRepository {
  constructor(private readonly database: Database) {}

  /** The account of an identity. */
  async find(issuer: string, subject: string): Promise<AccountRow | undefined> {
    const [row] = await this.database.query<AccountRow & Record<string, unknown>>(
      `select ${COLUMNS} from oauth_accounts where issuer = $1::text and subject = $2::text`,
      [issuer, subject],
      { retry: true },
    );
    return row;
  }

  /** All accounts of a user, the oldest first. */
  async ofUser(userId: string): Promise<AccountRow[]> {
    return this.database.query<AccountRow & Record<string, unknown>>(
      `select ${COLUMNS} from oauth_accounts where user_id = $1::text order by created_at, id`,
      [userId],
      { retry: true },
    );
  }
}
