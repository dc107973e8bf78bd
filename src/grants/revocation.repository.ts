// SQL of oauth_revocations, the outbox.
import { Injectable } from '@nestjs/common';
import { Database } from '../database/database.service.js';
import type { Queryable } from '../database/queryable.js';

/** A token to revoke. */
export interface RevocationRow {
  id: string;
  provider: string;
  issuer: string;
  subject: string;
  /** Sealed. */
  token: string;
  hint: 'access_token' | 'refresh_token';
  attempts: number;
  /** Another active grant of the same identity exists. */
  shared: boolean;
}

/** What {@link RevocationRepository.insertOfGrants} needs to know. */
export interface EndedGrants {
  readonly ids: readonly string[];
  /** As many, for the rows of account-bound grants. */
  readonly spareIds: readonly string[];
  readonly lifetime: number;
  readonly accessOnly: readonly string[];
}

/** Whether another active grant of the identity of a row exists. */
function sharedBy(row: string): string {
  return `exists (
    select 1 from oauth_grants g join oauth_accounts a on a.id = g.account_id
    where a.issuer = ${row}.issuer and a.subject = ${row}.subject and g.status = 'active')`;
}

/** What must still be revoked. */
@Injectable()
export class RevocationRepository {
  constructor(private readonly database: Database) {}

  /** Puts a token into the outbox. @param tx a transaction to be part of */
  async insert(
    row: Omit<RevocationRow, 'attempts' | 'shared'> & { lifetime: number },
    tx: Queryable = this.database,
  ): Promise<void> {
    await tx.query(
      `insert into oauth_revocations (id, provider, issuer, subject, token, hint, expires_at)
       values ($1::uuid, $2::text, $3::text, $4::text, $5::text, $6::text, now() + make_interval(secs => $7::double precision))`,
      [row.id, row.provider, row.issuer, row.subject, row.token, row.hint, row.lifetime],
    );
  }

  /**
   * Puts what ended grants held into the outbox, sealed as it is: refresh tokens, and access tokens where there is no
   * refresh token or the provider revokes no other; then an expired one leaves nothing to revoke. A session-bound grant gives its id to the row, which its seal names.
   * @param grants.lifetime seconds to go on trying where no expiry is known
   * @param grants.accessOnly names of the providers that revoke access tokens alone
   */
  async insertOfGrants(tx: Queryable, grants: EndedGrants): Promise<void> {
    await tx.query(
      `insert into oauth_revocations (id, provider, issuer, subject, token, hint, expires_at)
       select case when g.session_id is null then spare.id else g.id end, g.provider, a.issuer, a.subject,
              coalesce(r.token, t.token), case when r.token is null then 'access_token' else 'refresh_token' end,
              coalesce(case when r.token is null then t.expires_at else g.refresh_expires_at end, now() + make_interval(secs => $3::double precision))
       from unnest($1::uuid[], $2::uuid[]) as spare (grant_id, id)
       join oauth_grants g on g.id = spare.grant_id
       join oauth_accounts a on a.id = g.account_id
       cross join lateral (select case when g.provider <> all($4::text[]) then g.refresh_token end as token) r
       left join oauth_access_tokens t
         on t.grant_id = g.id and t.audience = '' and (g.provider <> all($4::text[]) or t.expires_at is null or t.expires_at > now())
       where coalesce(r.token, t.token) is not null
       on conflict (id) do nothing`,
      [grants.ids, grants.spareIds, grants.lifetime, grants.accessOnly],
    );
  }

  /**
   * Claims what is due: other instances pass these rows over, and they come again unless removed.
   * @param claim.patience seconds until then at least
   * @param claim.busy names of providers whose rows are left alone
   */
  async claim({
    limit,
    patience,
    busy,
  }: {
    limit: number;
    patience: number;
    busy: readonly string[];
  }): Promise<RevocationRow[]> {
    return this.database.query<RevocationRow & Record<string, unknown>>(
      `with due as (
         select w.id from oauth_revocations w
         where w.provider <> all($3::text[])
           and ((w.next_attempt_at <= now() and not w.waiting) or (w.waiting and not ${sharedBy('w')}))
         order by w.next_attempt_at limit $1::integer for update skip locked
       )
       update oauth_revocations r
       set attempts = r.attempts + 1, waiting = false,
           next_attempt_at = now() + make_interval(secs => least(3600, greatest($2::double precision, power(2, least(r.attempts, 12)) * (0.75 + random() / 2))))
       from due where r.id = due.id
       returning r.id, r.provider, r.issuer, r.subject, r.token, r.hint, r.attempts,
         ${sharedBy('r')} as shared`,
      [limit, patience, busy],
    );
  }

  /** Leaves a claimed token until no active grant of its identity is left. */
  async leaveWaiting(id: string): Promise<void> {
    await this.database.query(`update oauth_revocations set waiting = true, attempts = 0 where id = $1::uuid`, [id]);
  }

  /** Puts a claimed token off. @param seconds from now */
  async postpone(id: string, seconds: number): Promise<void> {
    await this.database.query(
      `update oauth_revocations set next_attempt_at = now() + make_interval(secs => $2::double precision) where id = $1::uuid`,
      [id, seconds],
    );
  }

  /** Done. */
  async remove(id: string): Promise<void> {
    await this.database.query('delete from oauth_revocations where id = $1::uuid', [id]);
  }

  /** Removes tokens that have expired by themselves. @returns how many */
  async removeExpired(): Promise<number> {
    return (await this.database.query('delete from oauth_revocations where expires_at < now() returning 1 as removed'))
      .length;
  }
}
