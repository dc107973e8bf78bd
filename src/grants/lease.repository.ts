// SQL of the lease on a grant: taken, journalled, given back, or ended by writing. Owners and versions are compared by
// the database, in one statement each, and whoever waits is notified.
import { Injectable } from '@nestjs/common';
import { Database } from '../database/database.service.js';
import type { Queryable } from '../database/queryable.js';
import type { Journal, LeaseRow } from './lease.js';

/** Notified with the id of a grant when its lease ends or its version moves. */
export const GRANT_CHANNEL = 'oauth_grants';

/** A refreshed token to write back. */
export interface WriteBack {
  grantId: string;
  version: number;
  audience: string;
  /** Sealed; null keeps the stored one. */
  refreshToken: string | null;
  refreshExpiresIn: number | null;
  /** Sealed; null keeps the stored access token. */
  accessToken: string | null;
  tokenType: string;
  scope: readonly string[];
  /** Seconds; null when unknown. */
  expiresIn: number | null;
  /** This refresh went under the floor; the next one must not. */
  underFloor: boolean;
}

/** What was written. */
export interface Written {
  /** From now on. */
  version: number;
  /** By the database clock; null when unknown. */
  expires_at: Date | null;
}

/** Leases on grants. */
@Injectable()
export class LeaseRepository {
  constructor(private readonly database: Database) {}

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
      { prepared: true },
    );
    return row;
  }

  /** Journal: this refresh token is about to be sent. @returns false when the lease was lost meanwhile */
  async noteSending(lease: { grantId: string; version: number; owner: string; lostAnswers: number }): Promise<boolean> {
    const rows = await this.database.query(
      `update oauth_grants set refresh_sent_at = clock_timestamp(), lost_answers = $4::integer
       where id = $1::uuid and status = 'active' and version = $2::integer and lease_owner = $3::uuid and lease_until > now() returning 1 as noted`,
      [lease.grantId, lease.version, lease.owner, lease.lostAnswers],
      { prepared: true },
    );
    return rows.length === 1;
  }

  /**
   * Gives the lease back, with the journal as it should read from now on.
   * @param journal.pause holds in every process
   */
  async release(lease: { grantId: string; owner: string }, journal: Journal): Promise<void> {
    await this.database.query(
      `with released as (
         update oauth_grants
         set lease_owner = null,
             lease_until = case when $3::double precision > 0 then now() + make_interval(secs => $3::double precision) end,
             refresh_sent_at = case when $4::boolean then coalesce(refresh_sent_at, now()) end,
             lost_answers = $5::integer
         where id = $1::uuid and lease_owner = $2::uuid
         returning id
       )
       select pg_notify('${GRANT_CHANNEL}', id::text) from released`,
      [lease.grantId, lease.owner, journal.pause, journal.unanswered, journal.lostAnswers],
      { prepared: true },
    );
  }

  /** Which of these grants somebody is refreshing just now, with their versions. */
  async leased(grantIds: readonly string[]): Promise<{ id: string; version: number }[]> {
    return this.database.query(
      `select id, version from oauth_grants
       where id = any($1::uuid[]) and status = 'active' and lease_owner is not null and lease_until > now()`,
      [grantIds],
      { retry: true },
    );
  }

  /**
   * Writes a refreshed token where the grant is still active at the version that was read.
   * @returns undefined when the grant moved on and nothing was written
   */
  async writeBack(write: WriteBack): Promise<Written | undefined> {
    const [row] = await this.database.query<Written & Record<string, unknown>>(
      `with written as (
         update oauth_grants
         set refresh_token = coalesce($4::text, refresh_token),
             refresh_expires_at = case when $5::double precision is null then case when $4::text is null then refresh_expires_at end
                                       else now() + make_interval(secs => $5::double precision) end,
             version = version + case when $4::text is null then 0 else 1 end,
             scope = case when $3::text = '' and $6::text is not null then $8::text[] else scope end,
             lease_owner = null, lease_until = null, refresh_sent_at = null, lost_answers = 0, updated_at = now()
         where id = $1::uuid and status = 'active' and version = $2::integer
         returning id, version
       ), stored as (
         insert into oauth_access_tokens (grant_id, audience, token, token_type, scope, issued_at, expires_at, refreshed_at)
         select id, $3::text, $6::text, $7::text, $8::text[], now(), now() + make_interval(secs => $9::double precision),
                -- one millisecond says that this refresh went under the floor
                now() + make_interval(secs => case when $10::boolean then 0.001 else 0 end)
         from written where $6::text is not null
         on conflict (grant_id, audience) do update
         set token = excluded.token, token_type = excluded.token_type, scope = excluded.scope,
             issued_at = excluded.issued_at, expires_at = excluded.expires_at, refreshed_at = excluded.refreshed_at,
             dpop_key = null
       )
       select version, now() + make_interval(secs => $9::double precision) as expires_at, pg_notify('${GRANT_CHANNEL}', id::text) from written`,
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
        write.underFloor,
      ],
      { prepared: true },
    );
    return row;
  }

  /** The sealed refresh token as it is stored now. */
  async refreshTokenOf(grantId: string): Promise<string | null> {
    const [row] = await this.database.query<{ refresh_token: string | null }>(
      `select refresh_token from oauth_grants where id = $1::uuid and status = 'active'`,
      [grantId],
    );
    return row?.refresh_token ?? null;
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
       select pg_notify('${GRANT_CHANNEL}', id::text) from ended`,
      [grantId, version, reason],
    );
    return rows.length === 1;
  }

  /** Ends a grant that answered for somebody else, with its access tokens and sessions. @returns the ended sessions, or undefined when the grant moved on */
  async endForeign(
    tx: Queryable,
    grantId: string,
    version: number,
  ): Promise<{ id: string; user_id: string }[] | undefined> {
    const [row] = await tx.query<{ sessions: { id: string; user_id: string }[] }>(
      `with ended as (
         update oauth_grants
         set status = 'reauth_required', status_reason = 'subject_mismatch', refresh_token = null, version = version + 1,
             lease_owner = null, lease_until = null, refresh_sent_at = null, lost_answers = 0, updated_at = now()
         where id = $1::uuid and status = 'active' and version = $2::integer
         returning id
       ), tokens as (
         delete from oauth_access_tokens t using ended e where t.grant_id = e.id
       ), sessions as (
         delete from oauth_sessions s using ended e where s.grant_id = e.id returning s.id, s.user_id
       )
       select coalesce((select jsonb_agg(to_jsonb(sessions)) from sessions), '[]'::jsonb) as sessions, pg_notify('${GRANT_CHANNEL}', id::text) from ended`,
      [grantId, version],
    );
    return row?.sessions;
  }
}
