// SQL of oauth_grants and oauth_access_tokens. Leases and versions are compared by the database in one statement each.
import { Injectable } from '@nestjs/common';
import { Database, type Queryable } from '../database/database.service.js';
import type { GrantOwner } from './grant-sealing.js';

/** A grant with the access token for one audience, if there is one. Durations are seconds by the database clock. */
export interface GrantRow {
  id: string;
  account_id: string;
  session_id: string | null;
  provider: string;
  issuer: string;
  subject: string;
  user_id: string;
  scope: string[];
  version: number;
  status: 'active' | 'reauth_required' | 'revoked';
  status_reason: string | null;
  refreshable: boolean;
  /** Seconds until the lease ends; null or negative when there is none. */
  lease_left: number | null;
  token: string | null;
  token_type: 'Bearer' | 'DPoP' | null;
  token_scope: string[] | null;
  expires_at: Date | null;
  ttl: number | null;
  lifetime: number | null;
  since_refresh: number | null;
}

/** What a lease hands over. */
export interface LeaseRow {
  refresh_token: string | null;
  dpop_key: string | null;
  /** A refresh was sent earlier, and no answer was ever written. */
  unanswered: boolean;
  lost_answers: number;
}

/** A refreshed token to write back. */
export interface WriteBack {
  grantId: string;
  version: number;
  audience: string;
  /** Sealed; null keeps the stored one. */
  refreshToken: string | null;
  refreshExpiresIn: number | null;
  /** Sealed. */
  accessToken: string;
  tokenType: string;
  scope: readonly string[];
  /** Seconds; null when unknown. */
  expiresIn: number | null;
}

const GRANT = `
  select g.id, g.account_id, g.session_id, g.provider, a.issuer, a.subject, a.user_id, g.scope, g.version, g.status, g.status_reason,
         g.refresh_token is not null and (g.refresh_expires_at is null or g.refresh_expires_at > now()) as refreshable,
         extract(epoch from g.lease_until - now())::double precision as lease_left,
         t.token, t.token_type, t.scope as token_scope, t.expires_at,
         extract(epoch from t.expires_at - now())::double precision as ttl,
         extract(epoch from t.expires_at - t.issued_at)::double precision as lifetime,
         extract(epoch from now() - t.refreshed_at)::double precision as since_refresh
  from oauth_grants g
  join oauth_accounts a on a.id = g.account_id
  left join oauth_access_tokens t on t.grant_id = g.id and t.audience = $1::text`;

/** Grants and their access tokens. */
@Injectable()
export class GrantRepository {
  constructor(private readonly database: Database) {}

  /** The grant of that id. */
  async byId(id: string, audience: string): Promise<GrantRow | undefined> {
    return this.#one(`${GRANT} where g.id = $2::uuid`, [audience, id]);
  }

  /** The grant behind a live session. */
  async bySession(sessionId: string, audience: string): Promise<GrantRow | undefined> {
    return this.#one(
      `${GRANT} join oauth_sessions s on s.grant_id = g.id where s.id = $2::uuid and s.expires_at > now() and s.idle_expires_at > now()`,
      [audience, sessionId],
    );
  }

  /** The account-bound grant of a user at a provider; the active one first where a user has several accounts there. */
  async byUser(userId: string, provider: string, audience: string): Promise<GrantRow | undefined> {
    return this.#one(
      `${GRANT} where a.user_id = $2::text and g.provider = $3::text and g.session_id is null
       order by (g.status = 'active') desc, a.last_login_at desc limit 1`,
      [audience, userId, provider],
    );
  }

  /** Takes the lease of a grant at a known version; undefined when somebody else has it or the grant moved on. */
  async takeLease(lease: {
    grantId: string;
    version: number;
    owner: string;
    seconds: number;
  }): Promise<LeaseRow | undefined> {
    const [row] = await this.database.query<LeaseRow & Record<string, unknown>>(
      `update oauth_grants
       set lease_owner = $3::uuid, lease_until = now() + make_interval(secs => $4::double precision)
       where id = $1::uuid and status = 'active' and version = $2::integer and (lease_until is null or lease_until < now())
       returning refresh_token, dpop_key, refresh_sent_at is not null as unanswered, lost_answers`,
      [lease.grantId, lease.version, lease.owner, lease.seconds],
    );
    return row;
  }

  /** Journal: this refresh token is about to be sent. @returns false when the lease was lost meanwhile */
  async noteSending(lease: { grantId: string; version: number; owner: string; lostAnswers: number }): Promise<boolean> {
    const rows = await this.database.query(
      `update oauth_grants set refresh_sent_at = clock_timestamp(), lost_answers = $4::integer
       where id = $1::uuid and status = 'active' and version = $2::integer and lease_owner = $3::uuid and lease_until > now() returning 1 as noted`,
      [lease.grantId, lease.version, lease.owner, lease.lostAnswers],
    );
    return rows.length === 1;
  }

  /** Gives the lease back. @param lease.answered the provider surely did not use the refresh token up: the journal entry goes */
  async releaseLease(lease: { grantId: string; owner: string; answered: boolean }): Promise<void> {
    await this.database.query(
      `update oauth_grants
       set lease_owner = null, lease_until = null,
           refresh_sent_at = case when $3::boolean and lost_answers = 0 then null else refresh_sent_at end
       where id = $1::uuid and lease_owner = $2::uuid`,
      [lease.grantId, lease.owner, lease.answered],
    );
  }

  /**
   * Writes a refreshed token where the grant is still active at the version that was read.
   * @returns the version from now on, or undefined when the grant moved on and nothing was written
   */
  async writeBack(write: WriteBack): Promise<number | undefined> {
    const [row] = await this.database.query<{ version: number }>(
      `with written as (
         update oauth_grants
         set refresh_token = coalesce($4::text, refresh_token),
             refresh_expires_at = case when $5::double precision is null then case when $4::text is null then refresh_expires_at end
                                       else now() + make_interval(secs => $5::double precision) end,
             version = version + case when $4::text is null then 0 else 1 end,
             scope = case when $3::text = '' then $8::text[] else scope end,
             lease_owner = null, lease_until = null, refresh_sent_at = null, lost_answers = 0, updated_at = now()
         where id = $1::uuid and status = 'active' and version = $2::integer
         returning id, version
       ), stored as (
         insert into oauth_access_tokens (grant_id, audience, token, token_type, scope, issued_at, expires_at, refreshed_at)
         select id, $3::text, $6::text, $7::text, $8::text[], now(), now() + make_interval(secs => $9::double precision), now() from written
         on conflict (grant_id, audience) do update
         set token = excluded.token, token_type = excluded.token_type, scope = excluded.scope,
             issued_at = excluded.issued_at, expires_at = excluded.expires_at, refreshed_at = excluded.refreshed_at
       )
       select version from written`,
      [
        write.grantId,
        write.version,
        write.audience,
        write.refreshToken,
        write.refreshExpiresIn,
        write.accessToken,
        write.tokenType,
        write.scope,
        write.expiresIn,
      ],
    );
    return row?.version;
  }

  /** The provider no longer accepts this grant. @returns false when it moved on and may be fine */
  async markReauthRequired(grantId: string, version: number, reason: string): Promise<boolean> {
    const rows = await this.database.query(
      `with ended as (
         update oauth_grants
         set status = 'reauth_required', status_reason = $3::text, refresh_token = null, version = version + 1,
             lease_owner = null, lease_until = null, refresh_sent_at = null, lost_answers = 0, updated_at = now()
         where id = $1::uuid and status = 'active' and version = $2::integer
         returning id
       )
       select id from ended`,
      [grantId, version, reason],
    );
    return rows.length === 1;
  }

  /** True while another active grant of this identity exists: at some providers one revocation would end it too. */
  async hasActive(issuer: string, subject: string): Promise<boolean> {
    const rows = await this.database.query(
      `select 1 as found from oauth_grants g join oauth_accounts a on a.id = g.account_id
       where a.issuer = $1::text and a.subject = $2::text and g.status = 'active' limit 1`,
      [issuer, subject],
      { retry: true },
    );
    return rows.length > 0;
  }

  /**
   * Grants that the ended sessions leave without any use, with what is to be revoked. Call it under the identity's locks.
   * @param keep names of providers whose account-bound grants outlive their sessions
   */
  async unneeded(
    tx: Queryable,
    ended: { sessionIds: readonly string[]; grantIds: readonly string[] },
    keep: readonly string[],
  ): Promise<(GrantOwnerRow & { refresh_token: string | null; token: string | null })[]> {
    return tx.query(
      `select g.id, g.provider, g.session_id, a.issuer, a.subject, g.refresh_token, t.token, g.refresh_expires_at, t.expires_at
       from oauth_grants g
       join oauth_accounts a on a.id = g.account_id
       left join oauth_access_tokens t on t.grant_id = g.id and t.audience = ''
       where g.status <> 'revoked' and (
         g.session_id = any($1::uuid[])
         or (g.id = any($2::uuid[]) and g.session_id is null and g.provider <> all($3::text[]) and not exists (
           select 1 from oauth_sessions s where s.grant_id = g.id and s.expires_at > now() and s.idle_expires_at > now()
         ))
       )
       for update of g`,
      [ended.sessionIds, ended.grantIds, keep],
    );
  }

  /** All grants of an account that are not ended yet, with what is to be revoked. Call it under the identity's locks. */
  async ofAccount(tx: Queryable, accountId: string): ReturnType<GrantRepository['unneeded']> {
    return tx.query(
      `select g.id, g.provider, g.session_id, a.issuer, a.subject, g.refresh_token, t.token, g.refresh_expires_at, t.expires_at
       from oauth_grants g
       join oauth_accounts a on a.id = g.account_id
       left join oauth_access_tokens t on t.grant_id = g.id and t.audience = ''
       where g.account_id = $1::uuid and g.status <> 'revoked'
       for update of g`,
      [accountId],
    );
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

  async #one(text: string, values: unknown[]): Promise<GrantRow | undefined> {
    const [row] = await this.database.query<GrantRow & Record<string, unknown>>(text, values, {
      retry: true,
      prepared: true,
    });
    return row;
  }
}

/** The members of a grant that say whose it is. */
export interface GrantOwnerRow {
  id: string;
  provider: string;
  session_id: string | null;
  issuer: string;
  subject: string;
}

/** Whose secrets a grant's are. */
export function ownerOf(row: GrantOwnerRow): GrantOwner {
  return {
    provider: row.provider,
    issuer: row.issuer,
    subject: row.subject,
    sessionGrantId: row.session_id === null ? null : row.id,
  };
}
