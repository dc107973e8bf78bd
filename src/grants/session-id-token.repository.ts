// SQL of the ID tokens that a grant's sessions keep: the next `id_token_hint`, and what ID tokens of refreshes are judged by.
import { Injectable } from '@nestjs/common';
import { Database } from '../database/database.service.js';

/** The last good ID token of a session. */
export interface SessionIdToken {
  session_id: string;
  /** Sealed. */
  id_token: string;
  sid: string | null;
  /** Seconds of the epoch, as the login's ID token said. */
  auth_time: number | null;
  /** The grant's refresh token stems from this session's login. */
  origin: boolean;
}

/** The ID tokens of sessions. */
@Injectable()
export class SessionIdTokenRepository {
  constructor(private readonly database: Database) {}

  /** Sealed ID tokens of the grant's sessions with what is known of their logins: the one that the refresh token is from first, then the latest. */
  async ofGrant(grantId: string): Promise<SessionIdToken[]> {
    return this.database.query<SessionIdToken & Record<string, unknown>>(
      `select s.id as session_id, s.id_token, s.sid, extract(epoch from s.auth_time)::double precision as auth_time,
              s.id is not distinct from g.session_id or s.created_at = g.created_at as origin
       from oauth_sessions s join oauth_grants g on g.id = s.grant_id
       where s.grant_id = $1::uuid and s.id_token is not null order by origin desc, s.created_at desc limit 10`,
      [grantId],
      { retry: true },
    );
  }

  /** Gives sessions newer ID tokens, where they still have the one that was read. */
  async replace(rows: readonly { sessionId: string; old: string; sealed: string }[]): Promise<void> {
    await this.database.query(
      `update oauth_sessions s set id_token = v.sealed
       from unnest($1::uuid[], $2::text[], $3::text[]) as v (id, old, sealed)
       where s.id = v.id and s.id_token = v.old`,
      [rows.map((row) => row.sessionId), rows.map((row) => row.old), rows.map((row) => row.sealed)],
    );
  }
}
