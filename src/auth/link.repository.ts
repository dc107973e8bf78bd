// SQL of connecting and disconnecting identities, inside one transaction each.
import { Injectable } from '@nestjs/common';
import { Database } from '../database/database.service.js';
import type { Queryable } from '../database/queryable.js';
import type { EndedSession } from '../sessions/session.repository.js';

/** A session that gets a new id and a new cookie. */
export interface Rotation {
  id: string;
  newId: string;
  tokenHash: Buffer;
  /** Sealed for the new id. */
  idToken: string | null;
  /** The login that linked. */
  stateHash: Buffer;
}

/** Links. */
@Injectable()
export class LinkRepository {
  constructor(private readonly database: Database) {}

  /** The sealed ID token of a session. */
  async idTokenOf(sessionId: string): Promise<string | null> {
    const [row] = await this.database.query<{ id_token: string | null }>(
      `select id_token from oauth_sessions where id = $1::uuid`,
      [sessionId],
    );
    return row?.id_token ?? null;
  }

  /** A link writes no session of its own: the one that came with the login statement goes before anybody sees it. */
  async discardSession(tx: Queryable, id: string): Promise<void> {
    await tx.query(`delete from oauth_sessions where id = $1::uuid`, [id]);
  }

  /** Gives a live session a new id and cookie. @returns seconds until its absolute end; undefined when it has ended meanwhile */
  async rotate(tx: Queryable, { id, newId, tokenHash, idToken, stateHash }: Rotation): Promise<number | undefined> {
    const [row] = await tx.query<{ seconds: number }>(
      `with before as (
         select id, token_hash from oauth_sessions
         where id = $1::uuid and expires_at > now() and idle_expires_at > now() for update
       ), rotated as (
         update oauth_sessions s set id = $2::uuid, token_hash = $3::bytea, id_token = $4::text
         from before where s.id = before.id
         returning before.token_hash as replaced, extract(epoch from s.expires_at - now())::double precision as seconds
       ), moved as (
         update oauth_grants set session_id = $2::uuid where session_id = $1::uuid and exists (select 1 from rotated)
       ), noted as (
         update oauth_states set replaced_hash = rotated.replaced from rotated where state_hash = $5::bytea
       )
       select seconds from rotated`,
      [id, newId, tokenHash, idToken, stateHash],
    );
    return row?.seconds;
  }

  /** All accounts of a user, locked, so that of two disconnections at once the second sees the first. */
  async lockAccounts(tx: Queryable, userId: string): Promise<string[]> {
    const rows = await tx.query<{ id: string }>(
      `select id from oauth_accounts where user_id = $1::text order by id for update`,
      [userId],
    );
    return rows.map((row) => row.id);
  }

  /** Ends all sessions that logged in with an account. */
  async endSessions(tx: Queryable, accountId: string): Promise<EndedSession[]> {
    return tx.query<EndedSession & Record<string, unknown>>(
      `delete from oauth_sessions where account_id = $1::uuid
       returning id, user_id, account_id, grant_id, provider, sid, id_token`,
      [accountId],
    );
  }

  /** Removes an account, with what is left of its grants. */
  async removeAccount(tx: Queryable, accountId: string): Promise<void> {
    await tx.query(`delete from oauth_accounts where id = $1::uuid`, [accountId]);
  }
}
