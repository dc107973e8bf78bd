// SQL of logouts that begin at the provider: tokens seen, and the sessions they end. All of it runs in one transaction.
import { Injectable } from '@nestjs/common';
import { Database } from '../database/database.service.js';
import type { Queryable } from '../database/queryable.js';
import type { EndedSession } from '../sessions/session.repository.js';

/** Which sessions of an issuer are meant; null means any. */
export interface LogoutTarget {
  readonly issuer: string;
  readonly sid: string | null;
  readonly sub: string | null;
}

/** The length is what the index on `sid` says of its rows: the planner asks for it literally. None that is longer gets here. */
const BY_SID = `
  a.issuer = $1::text and s.sid = $2::text and octet_length(s.sid) <= 2048
  and ($3::text is null or a.subject = $3::text)`;
const BY_SUBJECT = `a.issuer = $1::text and a.subject = $3::text and $2::text is null`;

/** Two conditions and not one with `or`: a plan made for any parameters would have to read all sessions. */
function meant({ sid }: LogoutTarget): string {
  return sid === null ? BY_SUBJECT : BY_SID;
}

/** Logout tokens and what they end. */
@Injectable()
export class LogoutRepository {
  constructor(private readonly database: Database) {}

  /** Remembers a logout token. A login that is just being written looks for it. @returns false for one seen before */
  async remember(tx: Queryable, token: LogoutTarget & { hash: Buffer }): Promise<boolean> {
    const rows = await tx.query(
      `insert into oauth_logout_tokens (token_hash, issuer, sid, sub, received_at)
       values ($1::bytea, $2::text, $3::text, $4::text, clock_timestamp())
       on conflict (token_hash) do nothing returning 1 as inserted`,
      [token.hash, token.issuer, token.sid, token.sub],
    );
    return rows.length === 1;
  }

  /** Subjects whose sessions are meant. */
  async subjects(tx: Queryable, target: LogoutTarget): Promise<string[]> {
    const { issuer, sid, sub } = target;
    const rows = await tx.query<{ subject: string }>(
      `select distinct a.subject from oauth_sessions s join oauth_accounts a on a.id = s.account_id where ${meant(target)}`,
      [issuer, sid, sub],
    );
    return rows.map((row) => row.subject);
  }

  /** Ends the sessions that are meant. */
  async end(tx: Queryable, target: LogoutTarget): Promise<EndedSession[]> {
    const { issuer, sid, sub } = target;
    return tx.query<EndedSession & Record<string, unknown>>(
      `with meant as (
         select s.id from oauth_sessions s join oauth_accounts a on a.id = s.account_id
         where ${meant(target)}
         order by s.id for update of s
       )
       delete from oauth_sessions s using meant m where s.id = m.id
       returning s.id, s.user_id, s.account_id, s.grant_id, s.provider, s.sid, s.id_token`,
      [issuer, sid, sub],
    );
  }

  /** Removes one batch of tokens received longer ago than this, seconds. @returns how many */
  async removeExpired(batchSize: number, age: number): Promise<number> {
    const rows = await this.database.query(
      `with expired as (
         select token_hash from oauth_logout_tokens where received_at < now() - make_interval(secs => $2::double precision)
         order by received_at limit $1::integer for update skip locked
       )
       delete from oauth_logout_tokens t using expired e where t.token_hash = e.token_hash returning 1 as removed`,
      [batchSize, age],
    );
    return rows.length;
  }
}
