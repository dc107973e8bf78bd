// All SQL of oauth_sessions but the one statement that writes a login. Expiry is judged by the database clock.
import { Injectable } from '@nestjs/common';
import { Database } from '../database/database.service.js';
import type { Queryable } from '../database/queryable.js';
import type { Answered } from '../database/answer-watch.js';
import type { TextRow } from '../database/text-query.js';
import { ByHashes } from './by-hashes.js';
import type { SessionRow } from './session-record.js';

const LIVE = `s.expires_at > now() and s.idle_expires_at > now()`;

const milliseconds = (column: string) => `date_part('epoch', ${column}) * 1000`;

/**
 * Which version of its row and of its grant's row a session is: the transactions that wrote them. Postgres gives every
 * change of a row, by whomever, another one, and nobody sees two versions by one transaction. Of an account only the profile
 * can change; the login that changes it writes the account's sessions anew, or the grant that they share.
 */
const VERSION = `s.xmin::text || ' ' || coalesce(g.xmin::text, '')`;

/**
 * Each session as one JSON text, in the order of {@link SessionRow}: reading twenty columns costs the driver ten times what
 * JSON does.
 */
const LOOKUP = `
  select json_build_array(
           encode(s.token_hash, 'base64'), s.id, s.user_id, s.account_id, s.grant_id, s.provider, s.sid,
           ${milliseconds('s.auth_time')}, s.acr, s.amr, ${milliseconds('s.created_at')}, ${milliseconds('s.last_seen_at')},
           ${milliseconds('s.idle_expires_at')}, ${milliseconds('s.expires_at')},
           a.issuer, a.subject, a.profile, g.scope, g.version, ${milliseconds('now()')}, ${VERSION})::text as session
  from oauth_sessions s
  join oauth_accounts a on a.id = s.account_id
  left join oauth_grants g on g.id = s.grant_id
  where ${LIVE}`;

const lookups = new ByHashes((hashes) => `${LOOKUP} and s.token_hash in (${hashes.join(', ')})`);

/** Of the sessions asked for, those that are alive, in one short text: the number of the question and the version. */
const checks = new ByHashes((hashes) =>
  hashes.length === 1
    ? // Nothing is gathered where there is one, and put together outside: that is a twentieth of what it costs.
      `select ${milliseconds('now()')}, s.xmin, g.xmin
       from oauth_sessions s left join oauth_grants g on g.id = s.grant_id where ${LIVE} and s.token_hash = ${hashes[0]}`
    : // One row at most for each, which Postgres takes to mean: by the index, whatever it knows of the table's size.
      `select ${milliseconds('now()')} as now, string_agg(asked.number || ' ' || found.version, ',') as alive
       from (values ${hashes.map((hash, number) => `(${number}, ${hash})`).join(', ')}) as asked (number, hash)
       cross join lateral (
         select ${VERSION} as version
         from oauth_sessions s left join oauth_grants g on g.id = s.grant_id
         where ${LIVE} and s.token_hash = asked.hash
         limit 1
       ) found`,
);

/** Which sessions are alive, and in which version. */
export interface Alive {
  /** Milliseconds since the epoch, by the database clock. */
  readonly now: number;
  /** In the order of the hashes; undefined for a session that is not alive. */
  readonly versions: readonly (string | undefined)[];
}

/** A session whose use was written down: the versions of its row before and after that. */
export interface Touched {
  readonly id: string;
  readonly before: string;
  readonly after: string;
}

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

  /** Live sessions by the hashes of their cookies, base64: one prepared statement, however many. */
  findLive(hashes: readonly string[], within: number, told: Answered<readonly SessionRow[]>): void {
    const { text, values } = lookups.of(hashes);
    this.database.ask(text, values, within, (error, rows) =>
      error
        ? told(error)
        : told(
            null,
            rows!.map(([session]) => JSON.parse(session!) as SessionRow),
          ),
    );
  }

  /** Which of these are alive, and in which version: as {@link findLive}, at half the cost. */
  check(hashes: readonly string[], within: number, told: Answered<Alive>): void {
    const { text, values } = checks.of(hashes);
    this.database.ask(text, values, within, (error, rows) =>
      error ? told(error) : told(null, hashes.length === 1 ? oneAlive(rows![0]) : aliveOf(hashes.length, rows![0])),
    );
  }

  /** One live session by its id. */
  async findLiveById(id: string): Promise<SessionRow[]> {
    const found = await this.database.query<{ session: string }>(`${LOOKUP} and s.id = $1::uuid`, [id], {
      retry: true,
    });
    return found.map(({ session }) => JSON.parse(session) as SessionRow);
  }

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

  /** True when the triggers of the coherent cache are there and enabled. */
  async hasTriggers(): Promise<boolean> {
    const [row] = await this.database.query<{ found: number }>(
      `select count(*)::integer as found from pg_trigger
       where tgrelid in (to_regclass('oauth_sessions'), to_regclass('oauth_accounts'), to_regclass('oauth_grants'))
         and not tgisinternal and tgenabled <> 'D'
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

  /** Ends sessions by id, all of this user. @returns those that were there */
  async remove(tx: Queryable, ids: readonly string[], userId: string): Promise<EndedSession[]> {
    return tx.query<EndedSession & Record<string, unknown>>(
      `delete from oauth_sessions where id = any($1::uuid[]) and user_id = $2::text returning ${ENDED}`,
      [ids, userId],
    );
  }

  /** Identities (issuer, subject, sid) of sessions, which name the locks to take before ending them. */
  async identities(
    where: { userId: string; except?: string; only?: string } | { accountId: string },
  ): Promise<{ id: string; issuer: string; subject: string; sid: string | null; user_id: string }[]> {
    const [condition, values] =
      'accountId' in where
        ? ['s.account_id = $1::uuid', [where.accountId]]
        : [
            `s.user_id = $1::text and ($2::uuid is null or s.id <> $2::uuid) and ($3::uuid is null or s.id = $3::uuid)`,
            [where.userId, where.except ?? null, where.only ?? null],
          ];
    return this.database.query(
      `select s.id, s.user_id, a.issuer, a.subject, s.sid from oauth_sessions s join oauth_accounts a on a.id = s.account_id where ${condition} order by s.id`,
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

/** What the check of one session says: the time and the two halves of {@link VERSION}, or nothing. */
function oneAlive(row: TextRow | undefined): Alive {
  // Where nothing was said, nobody is alive, and no clock is needed.
  if (!row) return { now: 0, versions: [undefined] };
  const [now, session, grant] = row;
  return { now: Number(now), versions: [`${session} ${grant ?? ''}`] };
}

/** What the check of several says. */
function aliveOf(count: number, row: TextRow | undefined): Alive {
  const [now, alive] = row ?? [];
  const versions: (string | undefined)[] = Array.from({ length: count });
  for (const entry of alive?.split(',') ?? []) {
    const space = entry.indexOf(' ');
    versions[Number(entry.slice(0, space))] = entry.slice(space + 1);
  }
  return { now: Number(now), versions };
}
