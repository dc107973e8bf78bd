// What is read of oauth_grants and oauth_access_tokens. Leases, and how grants end, have repositories of their own.
import { Injectable } from '@nestjs/common';
import { Database } from '../database/database.service.js';
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
  /** Seconds for which nobody may refresh after a failure; null when there is no such pause. */
  pause_left: number | null;
  token: string | null;
  /** Tells one access token from the next, however it is sealed. */
  token_stamp: string | null;
  token_type: 'Bearer' | 'DPoP' | null;
  /** Sealed; null unless the grant's tokens are bound to a key. */
  dpop_key: string | null;
  /** Sealed; null unless this access token is bound to a key of its own. */
  token_dpop_key: string | null;
  token_scope: string[] | null;
  expires_at: Date | null;
  ttl: number | null;
  lifetime: number | null;
  since_refresh: number | null;
  /** The last refresh went under the floor already. */
  under_floor: boolean;
}

/** A grant whose refresh token is about to lapse. */
export interface LapsingGrant {
  id: string;
  token_stamp: string | null;
  /** Exact to the microsecond, which a `Date` is not. */
  lapses_at: string;
}

const GRANT = `
  select g.id, g.account_id, g.session_id, g.provider, a.issuer, a.subject, a.user_id, g.scope, g.dpop_key, g.version, g.status, g.status_reason,
         g.refresh_token is not null and (g.refresh_expires_at is null or g.refresh_expires_at > now()) as refreshable,
         case when g.lease_owner is null and g.lease_until > now() then extract(epoch from g.lease_until - now())::double precision end as pause_left,
         t.token, t.issued_at::text as token_stamp, t.token_type, t.dpop_key as token_dpop_key, t.scope as token_scope, t.expires_at,
         extract(epoch from t.expires_at - now())::double precision as ttl,
         extract(epoch from t.expires_at - t.issued_at)::double precision as lifetime,
         extract(epoch from now() - t.refreshed_at)::double precision as since_refresh,
         coalesce(t.refreshed_at > t.issued_at, false) as under_floor
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

  /**
   * Account-bound grants, unused since half that time, whose refresh token lapses within it; the next one to lapse first.
   * @param within seconds
   * @param page.after the last grant of the page before; null for the first one
   */
  async lapsing(
    within: number,
    { after, limit }: { after: LapsingGrant | null; limit: number },
  ): Promise<LapsingGrant[]> {
    return this.database.query<LapsingGrant & Record<string, unknown>>(
      `select g.id, t.issued_at::text as token_stamp, g.refresh_expires_at::text as lapses_at
       from oauth_grants g left join oauth_access_tokens t on t.grant_id = g.id and t.audience = ''
       where g.status = 'active' and g.session_id is null and g.refresh_token is not null
         and g.refresh_expires_at > now() and g.refresh_expires_at < now() + make_interval(secs => $1::double precision)
         and coalesce(t.refreshed_at, g.created_at) < now() - make_interval(secs => least($1::double precision / 2, 86400))
         and (g.lease_until is null or g.lease_until < now())
         and ($3::uuid is null or (g.refresh_expires_at, g.id) > ($4::timestamptz, $3::uuid))
       order by g.refresh_expires_at, g.id limit $2::integer`,
      [within, limit, after?.id ?? null, after?.lapses_at ?? null],
      { retry: true },
    );
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
