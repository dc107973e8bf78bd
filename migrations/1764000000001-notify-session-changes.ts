// The triggers of the coherent session cache. Plain SQL, reversible, never edited after release.
import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Columns of a session whose change means that a cached copy is wrong; mere extensions and touches do not count. */
const CHANGED = `
  (old.id, old.token_hash, old.user_id, old.account_id, old.grant_id, old.provider, old.sid, old.auth_time, old.acr, old.amr, old.created_at)
    is distinct from
  (new.id, new.token_hash, new.user_id, new.account_id, new.grant_id, new.provider, new.sid, new.auth_time, new.acr, new.amr, new.created_at)
  or new.idle_expires_at < old.idle_expires_at or new.expires_at < old.expires_at`;

const TRIGGERS = [
  ['oauth_sessions', 'oauth_sessions_changed'],
  ['oauth_sessions', 'oauth_sessions_deleted'],
  ['oauth_sessions', 'oauth_sessions_truncated'],
  ['oauth_accounts', 'oauth_accounts_changed'],
  ['oauth_grants', 'oauth_grants_changed'],
] as const;

/**
 * Tells every process, by NOTIFY on `oauth_sessions`, the ids of live sessions that were changed or deleted, by whomever.
 * The payload is a list of ids with commas, or `*` for all.
 */
export class NotifyOAuthSessionChanges1764000000001 implements MigrationInterface {
  readonly name = 'NotifyOAuthSessionChanges1764000000001';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      create function oauth_session_changed() returns trigger language plpgsql as $$
      begin
        if old.expires_at > now() and old.idle_expires_at > now() then
          perform pg_notify('oauth_sessions', old.id::text);
        end if;
        return null;
      end $$`);
    await runner.query(`
      create trigger oauth_sessions_changed after update on oauth_sessions
      for each row when (${CHANGED}) execute function oauth_session_changed()`);

    // A payload has room for 8000 bytes: 200 ids.
    await runner.query(`
      create function oauth_sessions_deleted() returns trigger language plpgsql as $$
      begin
        perform pg_notify('oauth_sessions', string_agg(batch.id::text, ','))
        from (
          select gone.id, (row_number() over () - 1) / 200 as number from gone
          where gone.expires_at > now() and gone.idle_expires_at > now()
        ) batch
        group by batch.number;
        return null;
      end $$`);
    await runner.query(`
      create trigger oauth_sessions_deleted after delete on oauth_sessions
      referencing old table as gone for each statement execute function oauth_sessions_deleted()`);

    await runner.query(`
      create function oauth_sessions_truncated() returns trigger language plpgsql as $$
      begin
        perform pg_notify('oauth_sessions', '*');
        return null;
      end $$`);
    await runner.query(`
      create trigger oauth_sessions_truncated after truncate on oauth_sessions
      for each statement execute function oauth_sessions_truncated()`);

    // The schema is named: whoever changes a row by hand may have another search_path.
    await runner.query(`
      create function oauth_sessions_of_changed() returns trigger language plpgsql as $$
      begin
        execute format(
          'select pg_notify(''oauth_sessions'', string_agg(batch.id::text, '',''))
           from (
             select s.id, (row_number() over () - 1) / 200 as number from %I.oauth_sessions s
             where s.%I = $1 and s.expires_at > now() and s.idle_expires_at > now()
           ) batch
           group by batch.number',
          tg_table_schema, tg_argv[0]
        ) using old.id;
        return null;
      end $$`);
    await runner.query(`
      create trigger oauth_accounts_changed after update on oauth_accounts
      for each row when (
        (old.id, old.provider, old.issuer, old.subject, old.user_id, old.profile)
          is distinct from (new.id, new.provider, new.issuer, new.subject, new.user_id, new.profile)
      ) execute function oauth_sessions_of_changed('account_id')`);
    await runner.query(`
      create trigger oauth_grants_changed after update on oauth_grants
      for each row when ((old.id, old.scope, old.status, old.version) is distinct from (new.id, new.scope, new.status, new.version))
      execute function oauth_sessions_of_changed('grant_id')`);

    // Also where a replication role keeps ordinary triggers quiet.
    for (const [table, trigger] of TRIGGERS)
      await runner.query(`alter table ${table} enable always trigger ${trigger}`);
  }

  async down(runner: QueryRunner): Promise<void> {
    for (const [table, trigger] of TRIGGERS) await runner.query(`drop trigger ${trigger} on ${table}`);
    for (const name of [
      'oauth_session_changed',
      'oauth_sessions_deleted',
      'oauth_sessions_truncated',
      'oauth_sessions_of_changed',
    ])
      await runner.query(`drop function ${name}()`);
  }
}
