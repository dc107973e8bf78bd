// The index of logouts that begin at the provider. Plain SQL, reversible, never edited after release.
import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Finds sessions by the provider's session id. Sessions without one, or with one that no logout can name, cost nothing. */
export class IndexOAuthSessionSid1764000000002 implements MigrationInterface {
  readonly name = 'IndexOAuthSessionSid1764000000002';

  async up(runner: QueryRunner): Promise<void> {
    // Rows of earlier versions may hold a `sid` that is too long for a B-tree. Whoever cannot have logins wait while a
    // large table is read has built the index before, concurrently.
    await runner.query(
      `create index if not exists oauth_sessions_sid_idx on oauth_sessions (sid) where octet_length(sid) <= 2048`,
    );
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`drop index oauth_sessions_sid_idx`);
  }
}
