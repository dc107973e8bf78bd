// SQL by which grants end. What must be revoked at the provider is read before, in the same transaction.
import { Injectable } from '@nestjs/common';
import { Database } from '../database/database.service.js';
import type { Queryable } from '../database/queryable.js';

/** What ended, as {@link GrantEndRepository.unneeded} needs to know it. */
export interface Ended {
  readonly sessionIds: readonly string[];
  /** Grants that these sessions used. */
  readonly grantIds: readonly string[];
  /** Accounts whose own grant goes with their last session, whichever grant that session used. */
  readonly accountIds: readonly string[];
  /** Names of providers whose account-bound grants outlive their sessions. */
  readonly keep: readonly string[];
  /** So do account-bound grants with `offline_access`. */
  readonly keepOffline: boolean;
}

/** Ends grants. */
@Injectable()
export class GrantEndRepository {
  constructor(private readonly database: Database) {}

  /**
   * Grants that the ended sessions leave without any use, locked: their own; the account's that they used and no other
   * session does; and that of an account which has no session any more, although the last one had a grant of its own.
   * Call it under the identity's locks.
   */
  async unneeded(
    tx: Queryable,
    { sessionIds, grantIds, accountIds, keep, keepOffline }: Ended,
  ): Promise<{ id: string }[]> {
    return tx.query(
      `select g.id from oauth_grants g
       where g.status <> 'revoked' and (
         g.session_id = any($1::uuid[])
         or (
           g.session_id is null and g.provider <> all($4::text[]) and not ($5::boolean and 'offline_access' = any(g.scope))
           and (g.id = any($2::uuid[]) or g.account_id = any($3::uuid[]))
           and not exists (
             select 1 from oauth_sessions s
             where s.account_id = g.account_id and (s.grant_id = g.id or g.id <> all($2::uuid[]))
               and s.expires_at > now() and s.idle_expires_at > now()
           )
         )
       )
       for update of g`,
      [sessionIds, grantIds, accountIds, keep, keepOffline],
    );
  }

  /** All grants of an account that are not ended yet, locked. Call it under the identity's locks. */
  async ofAccount(tx: Queryable, accountId: string): Promise<{ id: string }[]> {
    return tx.query(
      `select g.id from oauth_grants g where g.account_id = $1::uuid and g.status <> 'revoked' for update of g`,
      [accountId],
    );
  }

  /**
   * Removes one batch of session-bound grants whose session is gone. The end of a session by time is no logout: nothing
   * is revoked. @returns how many
   */
  async removeOrphans(batchSize: number): Promise<number> {
    const rows = await this.database.query(
      `with orphans as (
         select g.id from oauth_grants g
         where g.session_id is not null and not exists (select 1 from oauth_sessions s where s.id = g.session_id)
         limit $1::integer for update of g skip locked
       )
       delete from oauth_grants g using orphans o where g.id = o.id returning 1 as removed`,
      [batchSize],
    );
    return rows.length;
  }

  /** Ends grants: their secrets leave the table, their access tokens are gone, and no refresh in flight can write any more. */
  async end(tx: Queryable, grantIds: readonly string[], reason: string): Promise<void> {
    await tx.query(
      `with ended as (
         update oauth_grants
         set status = 'revoked', status_reason = $2::text, refresh_token = null, dpop_key = null, version = version + 1,
             lease_owner = null, lease_until = null, refresh_sent_at = null, lost_answers = 0, updated_at = now()
         where id = any($1::uuid[])
         returning id
       )
       delete from oauth_access_tokens t using ended e where t.grant_id = e.id`,
      [grantIds, reason],
    );
  }
}
