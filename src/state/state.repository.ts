// All SQL of oauth_states. Expiry is judged by the database clock; single use is one statement.
import { Injectable } from '@nestjs/common';
import { Database } from '../database/database.service.js';

/** The whole binding of a pending login: all of it must match. */
export interface StateBinding {
  stateHash: Buffer;
  browserHash: Buffer;
  provider: string;
}

/** A row as consumed. */
export interface ConsumedRow {
  payload: string;
  return_to: string;
  session_id: string | null;
}

/** What a row left behind. */
export interface TombstoneRow {
  outcome: string;
  return_to: string;
  /** Seconds since it was used up. */
  age: number;
}

/**
 * The oldest of this browser go. By their places, so that nobody plans to read the whole table for them; and judged again, for
 * before version 15 Postgres takes a place for the right one though its row was used up meanwhile.
 */
const CROWD_OUT = `
  with crowded_out as (
    delete from oauth_states
    where ctid = any(array(
      select ctid from oauth_states
      where browser_hash = $2::bytea and consumed_at is null
      order by created_at desc offset $9::integer
    ))
    and consumed_at is null
  )`;

const REMEMBER = `
  insert into oauth_states (state_hash, browser_hash, provider, payload, return_to, session_id, expires_at)
  select $1::bytea, $2::bytea, $3::text, $4::text, $5::text, $6::uuid, now() + make_interval(secs => $7::double precision)
  where case when $8::bigint <= 10000
    then (select count(*) from (select 1 from oauth_states where expires_at > now() limit $8::bigint) t) < $8::bigint
    else (select reltuples from pg_class where oid = 'oauth_states'::regclass) < $8::bigint
  end
  returning 1 as inserted`;

const REMEMBER_AND_CROWD_OUT = CROWD_OUT + REMEMBER;

/** Pending logins. */
@Injectable()
export class StateRepository {
  constructor(private readonly database: Database) {}

  /**
   * Remembers a pending login; the oldest of this browser beyond its bound make room. The bound on all of them is exact
   * up to 10,000; beyond, counting would cost more than it saves, and the planner's estimate has to do.
   * @param row.maxPerBrowser null for a browser that has no pending logins yet
   * @returns false when there are too many
   */
  async insert(
    row: StateBinding & {
      payload: string;
      returnTo: string;
      sessionId: string | null;
      lifetime: number;
      maxPerBrowser: number | null;
      maxPending: number;
    },
  ): Promise<boolean> {
    const { stateHash, browserHash, provider, payload, returnTo, sessionId, lifetime, maxPending, maxPerBrowser } = row;
    const values = [stateHash, browserHash, provider, payload, returnTo, sessionId, lifetime, maxPending];
    const inserted = await (maxPerBrowser === null
      ? this.database.query(REMEMBER, values, { prepared: true })
      : this.database.query(REMEMBER_AND_CROWD_OUT, [...values, maxPerBrowser - 1], { prepared: true }));
    return inserted.length > 0;
  }

  /**
   * Uses a pending login up. The payload (verifier, nonce) leaves the table with this statement; of two callbacks at
   * once the second finds the row consumed when the lock is released.
   */
  async consume({ stateHash, browserHash, provider }: StateBinding): Promise<ConsumedRow | undefined> {
    const [row] = await this.database.query<ConsumedRow & Record<string, unknown>>(
      `with pending as (
         select state_hash, payload from oauth_states
         where state_hash = $1::bytea and browser_hash = $2::bytea and provider = $3::text
           and consumed_at is null and expires_at > now()
         for update
       )
       update oauth_states s set consumed_at = clock_timestamp(), payload = null
       from pending p where s.state_hash = p.state_hash
       returning p.payload, s.return_to, s.session_id`,
      [stateHash, browserHash, provider],
      { prepared: true },
    );
    return row;
  }

  /** Gives back a login that was used up but could not be judged: its code was sent nowhere. */
  async restore(stateHash: Buffer, payload: string): Promise<void> {
    await this.database.query(
      `update oauth_states set consumed_at = null, payload = $2::text where state_hash = $1::bytea and outcome = 'pending'`,
      [stateHash, payload],
    );
  }

  /** What became of a login that this very browser already finished, or is finishing. */
  async tombstone({ stateHash, browserHash, provider }: StateBinding): Promise<TombstoneRow | undefined> {
    const [row] = await this.database.query<TombstoneRow & Record<string, unknown>>(
      `select outcome, return_to, extract(epoch from clock_timestamp() - consumed_at)::double precision as age
       from oauth_states
       where state_hash = $1::bytea and browser_hash = $2::bytea and provider = $3::text and consumed_at is not null`,
      [stateHash, browserHash, provider],
      { retry: true },
    );
    return row;
  }

  /** Notes how a consumed login ended. A login that is done stays done. */
  async close(stateHash: Buffer, outcome: string): Promise<void> {
    await this.database.query(
      `update oauth_states set outcome = $2::text
       where state_hash = $1::bytea and outcome = 'pending' and consumed_at is not null`,
      [stateHash, outcome],
    );
  }

  /** Removes one batch of rows that expired a minute ago. @returns how many */
  async removeExpired(batchSize: number): Promise<number> {
    const rows = await this.database.query(
      `with expired as (
         select state_hash from oauth_states where expires_at < now() - interval '1 minute'
         order by expires_at limit $1::integer for update skip locked
       )
       delete from oauth_states s using expired e where s.state_hash = e.state_hash returning 1 as removed`,
      [batchSize],
    );
    return rows.length;
  }
}
