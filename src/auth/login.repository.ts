// The one statement that writes a login: account, grant, access token, session, and the state's outcome.
import { Injectable } from '@nestjs/common';
import type { LockedIdentity } from '../database/identity-locks.js';
import type { Queryable } from '../database/queryable.js';
import type { OAuthProfile } from '../options/login.js';
import type { EndedSession } from '../sessions/session.repository.js';

/** Everything that a login writes. Secrets are sealed already. */
export interface LoginWrite {
  stateHash: Buffer;
  /** Hash of the session cookie that came along: that session ends. */
  oldTokenHash: Buffer | null;
  account: {
    id: string;
    provider: string;
    issuer: string;
    subject: string;
    userId: string | null;
    /** The account that `onLogin` decided about: only that one is this identity's. Null where it was told of none. */
    known: string | null;
    profile: OAuthProfile;
  };
  grant: {
    id: string;
    sessionBound: boolean;
    /** An account's grant that this one neither covers nor is covered by is replaced, not left alone. */
    replaces: boolean;
    scope: readonly string[];
    refreshToken: string | null;
    refreshExpiresIn: number | null;
    dpopKey: string | null;
    accessToken: string;
    /** The same key, sealed for the access token alone. */
    accessKey: string | null;
    tokenType: string;
    expiresIn: number | null;
  };
  session: {
    id: string;
    tokenHash: Buffer;
    sid: string | null;
    authTime: Date | null;
    acr: string | null;
    amr: readonly string[] | null;
    idleTimeout: number;
    absoluteTimeout: number;
    /** The provider's own end of this session, if it asserts one. */
    ceiling: Date | null;
    ip: string | null;
    userAgent: string | null;
    idToken: string | null;
  };
}

/** What came of it. */
export interface LoginWritten {
  /** The provider logged this person out while the login was under way. */
  logged_out: boolean;
  /** Null when the account belongs to another user than the one named, or is not the known one any more, or the login was refused. */
  account_id: string | null;
  user_id: string | null;
  first_login: boolean | null;
  /** Seconds until the session's absolute end. */
  session_seconds: number | null;
  /** No session was written: the account's grant is to be left alone, and this one must be the session's own. */
  apart: boolean;
  /** Nothing was written: it came later than it was to. */
  late: boolean;
  ended: (EndedSession & { issuer: string; subject: string; own_grant: boolean }) | null;
}

/** The account's grant as it was before this login has a refresh token that still works, for the same client. */
const LIVES = `
  oauth_grants.status = 'active' and oauth_grants.provider = excluded.provider and oauth_grants.refresh_token is not null
  and (oauth_grants.refresh_expires_at is null or oauth_grants.refresh_expires_at > now())`;
/** What is allowed accumulates: an answer without a refresh token, or with a narrower one, keeps the stored one with its key. */
const KEEPS = `(${LIVES} and (excluded.refresh_token is null or (oauth_grants.scope @> excluded.scope and not excluded.scope @> oauth_grants.scope)))`;
/** Each refresh token has what the other lacks, and none may be lost: the new one becomes the session's own. */
const STANDS_APART = `(${LIVES} and excluded.refresh_token is not null and not oauth_grants.scope @> excluded.scope and not excluded.scope @> oauth_grants.scope)`;

/** Nobody waits for this any more. */
const LATE = `exists (
  select 1 from oauth_states
  where state_hash = $1::bytea and clock_timestamp() > consumed_at + make_interval(secs => $33::double precision))`;

const WRITE_LOGIN = `
  with logged_out as (
    select 1 from oauth_logout_tokens l
    where l.issuer = $3::text and (
      (l.sid is not null and l.sid = $16::text)
      or (l.sid is null and l.sub = $4::text
          -- a row that was cleaned up meanwhile does not say when: a slow login is rather refused
          and l.received_at >= coalesce((select consumed_at from oauth_states where state_hash = $1::bytea), '-infinity'))
    )
    limit 1
  ), account as (
    insert into oauth_accounts (id, provider, issuer, subject, user_id, profile)
    select $5::uuid, $2::text, $3::text, $4::text, coalesce($6::text, $5::text), $7::jsonb
    where not exists (select 1 from logged_out)
      -- a second try, after the connection was lost with the answer to the first
      and not exists (select 1 from oauth_states where state_hash = $1::bytea and outcome = 'done')
      and not ${LATE}
      -- one that was disconnected meanwhile comes back as nobody's, and not as the user that it was
      and ($32::uuid is null or exists (select 1 from oauth_accounts known where known.id = $32::uuid))
    on conflict (issuer, subject) do update
    set provider = excluded.provider, profile = excluded.profile, last_login_at = now()
    where ($6::text is null or oauth_accounts.user_id = $6::text) and ($32::uuid is null or oauth_accounts.id = $32::uuid)
    returning id, user_id, xmax = 0 as first_login
  ), ended as (
    delete from oauth_sessions s using oauth_accounts a
    where s.token_hash = $27::bytea and a.id = s.account_id and exists (select 1 from account)
    returning s.id, s.user_id, s.account_id, s.grant_id, s.provider, s.sid, s.id_token, a.issuer, a.subject,
              exists (select 1 from oauth_grants o where o.session_id = s.id) as own_grant
  ), granted as (
    insert into oauth_grants (id, account_id, session_id, provider, scope, refresh_token, refresh_expires_at, dpop_key)
    select $8::uuid, account.id, $9::uuid, $2::text, $10::text[], $11::text, now() + make_interval(secs => $12::double precision), $13::text
    from account
    on conflict (account_id) where session_id is null do update
    set provider = excluded.provider,
        scope = case when not ${KEEPS} then excluded.scope
                     else oauth_grants.scope || array(select unnest(excluded.scope) except select unnest(oauth_grants.scope)) end,
        refresh_token = case when ${KEEPS} then oauth_grants.refresh_token else excluded.refresh_token end,
        refresh_expires_at = case when ${KEEPS} then oauth_grants.refresh_expires_at else excluded.refresh_expires_at end,
        dpop_key = case when ${KEEPS} then oauth_grants.dpop_key else excluded.dpop_key end,
        version = oauth_grants.version + case when ${KEEPS} then 0 else 1 end,
        lease_owner = case when ${KEEPS} then oauth_grants.lease_owner end,
        lease_until = case when ${KEEPS} then oauth_grants.lease_until end,
        refresh_sent_at = case when ${KEEPS} then oauth_grants.refresh_sent_at end,
        lost_answers = case when ${KEEPS} then oauth_grants.lost_answers else 0 end,
        -- the moment of the login that the refresh token is from: its session has the same
        created_at = case when ${KEEPS} then oauth_grants.created_at else now() end,
        status = 'active', status_reason = null, updated_at = now()
    where $31::boolean or not ${STANDS_APART}
    returning id, dpop_key is distinct from $13::text as other_key,
              exists (
                select 1 from oauth_grants before where before.id = oauth_grants.id and before.version <> oauth_grants.version
              ) as replaced,
              -- a wider grant keeps its access token as well; what brings something new is used at once
              scope <@ $10::text[] or not exists (
                select 1 from oauth_grants before where before.id = oauth_grants.id and before.scope @> $10::text[]
              ) as current
  ), renewed as (
    -- whoever remembers the account's sessions sees by their new versions, or by the grant's, that they are to be read again;
    -- they are not looked for where the profile is as before, as it mostly is
    update oauth_sessions s set account_id = s.account_id
    from account
    where exists (
        select 1 from account join oauth_accounts before on before.id = account.id
        where before.profile is distinct from $7::jsonb
      )
      and s.account_id = account.id and s.token_hash is distinct from $27::bytea
      and not exists (select 1 from granted where granted.id = s.grant_id)
  ), token as (
    insert into oauth_access_tokens (grant_id, audience, token, token_type, scope, issued_at, expires_at, dpop_key)
    select granted.id, '', $14::text, $15::text, $10::text[], now(), now() + make_interval(secs => $28::double precision),
           case when granted.other_key then $30::text end
    from granted where granted.current
    on conflict (grant_id, audience) do update
    set token = excluded.token, token_type = excluded.token_type, scope = excluded.scope,
        issued_at = excluded.issued_at, expires_at = excluded.expires_at, dpop_key = excluded.dpop_key
  ), outdated as (
    -- what was made from a replaced refresh token may do what is not allowed any more, and goes by another key or name
    delete from oauth_access_tokens t using granted
    where granted.replaced and t.grant_id = granted.id and t.audience <> ''
  ), session as (
    insert into oauth_sessions (id, token_hash, user_id, account_id, grant_id, provider, sid, auth_time, acr, amr,
                                idle_expires_at, expires_at, ip, user_agent, id_token)
    select $17::uuid, $18::bytea, account.user_id, account.id, granted.id, $2::text, $16::text, $19::timestamptz, $20::text, $21::text[],
           least(now() + make_interval(secs => $22::double precision), ends.at), ends.at, $24::text, $25::text, $26::text
    from account, granted,
         (select least(now() + make_interval(secs => $23::double precision), $29::timestamptz) as at) ends
    returning extract(epoch from expires_at - now())::double precision as seconds
  ), closed as (
    update oauth_states set outcome = 'done', replaced_hash = (select $27::bytea from ended) where state_hash = $1::bytea and exists (select 1 from session)
  ), already as (
    select s.account_id, s.user_id, a.created_at = a.last_login_at as first_login,
           extract(epoch from s.expires_at - now())::double precision as seconds
    from oauth_sessions s join oauth_accounts a on a.id = s.account_id where s.token_hash = $18::bytea
  )
  select exists (select 1 from logged_out) as logged_out,
         coalesce((select id from account), (select account_id from already)) as account_id,
         coalesce((select user_id from account), (select user_id from already)) as user_id,
         coalesce((select first_login from account), (select first_login from already)) as first_login,
         coalesce((select seconds from session), (select seconds from already)) as session_seconds,
         (select to_jsonb(ended) from ended) as ended,
         exists (select 1 from account) and not exists (select 1 from granted) as apart,
         not exists (select 1 from account) and ${LATE} as late`;

const OLDEST = `
  select id from oauth_sessions where user_id = $1::text and expires_at > now() and idle_expires_at > now()
  order by created_at desc, id offset $2::integer`;

/** Writes logins. */
@Injectable()
export class LoginRepository {
  /**
   * Writes a login in one round trip, and says the same when it is asked again. Call it under the locks of the identity,
   * which make earlier commits visible.
   * @param within seconds since the state was used up, by the database's clock, after which nothing is written: whoever
   * sends COMMIT with it has given up by then. Null for no such bound
   */
  async write(
    tx: Queryable,
    { stateHash, oldTokenHash, account, grant, session }: LoginWrite,
    within: number | null = null,
  ): Promise<LoginWritten> {
    const [row] = await tx.query<LoginWritten & Record<string, unknown>>(WRITE_LOGIN, [
      stateHash, account.provider, account.issuer, account.subject, account.id, account.userId, JSON.stringify(account.profile),
      grant.id, grant.sessionBound ? session.id : null, grant.scope, grant.refreshToken, grant.refreshExpiresIn, grant.dpopKey, grant.accessToken, grant.tokenType,
      session.sid, session.id, session.tokenHash, session.authTime, session.acr, session.amr, session.idleTimeout, session.absoluteTimeout,
      session.ip, session.userAgent, session.idToken, oldTokenHash, grant.expiresIn, session.ceiling, grant.accessKey, grant.replaces,
      account.known, within,
    ], { prepared: true }); // prettier-ignore
    return row!;
  }

  /** Identities of the oldest sessions of a user beyond a number, which name the locks to take before ending them. */
  async oldest(tx: Queryable, userId: string, keep: number): Promise<LockedIdentity[]> {
    return tx.query<LockedIdentity & Record<string, unknown>>(
      `select distinct a.issuer, a.subject, null as sid
       from oauth_sessions s join oauth_accounts a on a.id = s.account_id where s.id in (${OLDEST})`,
      [userId, keep],
    );
  }

  /** Ends the oldest sessions of a user beyond a number. @returns those that ended */
  async endOldest(tx: Queryable, userId: string, keep: number): Promise<EndedSession[]> {
    return tx.query<EndedSession & Record<string, unknown>>(
      `delete from oauth_sessions where id in (${OLDEST})
       returning id, user_id, account_id, grant_id, provider, sid, id_token`,
      [userId, keep],
    );
  }
}
