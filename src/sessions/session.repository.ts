// Listing, ending, touching and cleaning sessions. Guards ask another file (lookup.repository), and a login writes its own.
import { Injectable } from '@nestjs/common';
import { Database } from '../database/database.service.js';
import type { LockedIdentity } from '../database/identity-locks.js';
import type { Queryable } from '../database/queryable.js';
import { LIVE, milliseconds } from './lookup.repository.js';
import type { SessionRecord } from './session-record.js';

/** A session whose use was written down: the versions of its row before and after that. */
export interface Touched {
  readonly id: string;
  readonly before: string;
  readonly after: string;
}

/** What stays the same of a session when a link gives it another id and another cookie. */
export type LastingKey = Pick<SessionRecord, 'user_id' | 'account_id' | 'created_at'>;

/** One line of the list of a user's own sessions. */
export interface ListedSession {
  id: string;
  provider: string;
  created_at: Date;
  last_seen_at: Date;
  expires_at: Date;
  ip: string | null;
  user_agent: string | null;
}

/** What remains of a session that was ended: enough to decide about its grant and to log out at the provider. */
export interface EndedSession {
  id: string;
  user_id: string;
  account_id: string;
  grant_id: string | null;
  provider: string;
  sid: string | null;
  id_token: string | null;
}

const ENDED = 'id, user_id, account_id, grant_id, provider, sid, id_token';

/** Sessions. */
@Injectable()
export class SessionRepository {
  constructor(private readonly database: Database) {}

  /**
   * True when a login of this browser put a new cookie in the place of this one a moment ago. The tombstone of that login
   * says so; it lets nobody in.
   */
  async wasReplaced(tokenHash: Buffer, browserHash: Buffer): Promise<boolean> {
    const rows = await this.database.query(
      `select 1 as found from oauth_states
       where browser_hash = $2::bytea and replaced_hash = $1::bytea and consumed_at > now() - interval '2 minutes'
       limit 1`,
      [tokenHash, browserHash],
      { retry: true, prepared: true },
    );
    return rows.length > 0;
  }

  /** Those of these sessions that are alive. */
  async aliveAmong(ids: readonly string[]): Promise<string[]> {
    const rows = await this.database.query<{ id: string }>(
      `select s.id from oauth_sessions s where s.id = any($1::uuid[]) and ${LIVE}`,
      [ids],
      { retry: true },
    );
    return rows.map((row) => row.id);
  }

  /** True when the triggers of the coherent cache are there and enabled always: replication roles silence all others. */
  async hasTriggers(): Promise<boolean> {
    const [row] = await this.database.query<{ found: number }>(
      `select count(*)::integer as found from pg_trigger
       where tgrelid in (to_regclass('oauth_sessions'), to_regclass('oauth_accounts'), to_regclass('oauth_grants'))
         and not tgisinternal and tgenabled = 'A'
         and tgname in ('oauth_sessions_changed', 'oauth_sessions_deleted', 'oauth_sessions_truncated', 'oauth_accounts_changed', 'oauth_grants_changed')`,
    );
    return row?.found === 5;
  }

  /** The live sessions of a user, the latest first. */
  async list(userId: string): Promise<ListedSession[]> {
    return this.database.query<ListedSession & Record<string, unknown>>(
      `select s.id, s.provider, s.created_at, s.last_seen_at, s.expires_at, s.ip, s.user_agent
       from oauth_sessions s where s.user_id = $1::text and ${LIVE} order by s.last_seen_at desc, s.id`,
      [userId],
      { retry: true },
    );
  }

  /**
   * Ends a session, under whatever id it has by now. Its time is compared to the hundredth of a millisecond: where the
   * database has `extra_float_digits = 0`, that is all it says of it. @returns what was there
   */
  async remove(tx: Queryable, { user_id, account_id, created_at }: LastingKey): Promise<EndedSession[]> {
    return tx.query<EndedSession & Record<string, unknown>>(
      `delete from oauth_sessions
       where user_id = $1::text and account_id = $2::uuid and abs(${milliseconds('created_at')} - $3::double precision) < 0.01
       returning ${ENDED}`,
      [user_id, account_id, created_at],
    );
  }

  /** What names sessions for good, and their identities, which name the locks to take before ending them. */
  async identities(
    where: { userId: string; except?: string; only?: string } | { accountId: string },
  ): Promise<(LastingKey & LockedIdentity)[]> {
    const [condition, values] =
      'accountId' in where
        ? ['s.account_id = $1::uuid', [where.accountId]]
        : [
            `s.user_id = $1::text and ($2::uuid is null or s.id <> $2::uuid) and ($3::uuid is null or s.id = $3::uuid)`,
            [where.userId, where.except ?? null, where.only ?? null],
          ];
    return this.database.query(
      `select s.user_id, s.account_id, ${milliseconds('s.created_at')} as created_at, a.issuer, a.subject, s.sid
       from oauth_sessions s join oauth_accounts a on a.id = s.account_id where ${condition} order by s.id`,
      values,
    );
  }

  /**
   * Writes gathered touches: in id order, past rows that others hold (opposite orders deadlock), on live rows only,
   * never backwards, never beyond the absolute end.
   * @returns those that were written
   */
  async touch(touches: readonly { id: string; seen: Date }[], idleTimeout: number): Promise<Touched[]> {
    const [said] = await this.database.query<{ touched: string | null }>(
      `with due as (
         select s.id, t.seen, s.xmin::text as before
         from oauth_sessions s join unnest($1::uuid[], $2::timestamptz[]) as t (id, seen) on t.id = s.id
         where s.last_seen_at < t.seen and ${LIVE}
         order by s.id for update of s skip locked
       ), touched as (
         update oauth_sessions s
         set last_seen_at = due.seen,
             idle_expires_at = least(s.expires_at, greatest(s.idle_expires_at, due.seen + make_interval(secs => $3::double precision)))
         from due where s.id = due.id
         returning s.id, due.before, s.xmin::text as after
       )
       select string_agg(id || ' ' || before || ' ' || after, ',') as touched from touched`,
      [touches.map((touch) => touch.id), touches.map((touch) => touch.seen), idleTimeout],
    );
    return (said?.touched?.split(',') ?? []).map((text) => {
      const [id, before, after] = text.split(' ') as [string, string, string];
      return { id, before, after };
    });
  }

  /** Removes one batch of sessions that have been past one of their ends for the grace time, seconds. @returns how many */
  async removeExpired(end: 'idle_expires_at' | 'expires_at', batchSize: number, grace: number): Promise<number> {
    const rows = await this.database.query(
      `with expired as (
         select id from oauth_sessions
         where ${end} < now() - make_interval(secs => $2::double precision)
         order by ${end} limit $1::integer for update skip locked
       )
       delete from oauth_sessions s using expired e where s.id = e.id returning 1 as removed`,
      [batchSize, grace],
    );
    return rows.length;
  }
}
