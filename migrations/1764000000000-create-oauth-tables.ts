// The tables of nest-oauth-client. Plain SQL, reversible, and never edited after release: changes are new migrations.
import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Creates the seven `oauth_` tables. Ids come from the application, so no extension is needed. */
export class CreateOAuthTables1764000000000 implements MigrationInterface {
  readonly name = 'CreateOAuthTables1764000000000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      create table oauth_states (
        state_hash bytea not null constraint oauth_states_pkey primary key,
        browser_hash bytea not null,
        provider text not null,
        payload text,
        return_to text not null,
        session_id uuid,
        created_at timestamptz not null default now(),
        expires_at timestamptz not null,
        consumed_at timestamptz,
        outcome text not null default 'pending',
        replaced_hash bytea
      )`);
    await runner.query(`create index oauth_states_browser_hash_idx on oauth_states (browser_hash, created_at)`);
    await runner.query(`create index oauth_states_expires_at_idx on oauth_states (expires_at)`);

    await runner.query(`
      create table oauth_accounts (
        id uuid not null constraint oauth_accounts_pkey primary key,
        provider text not null,
        issuer text not null,
        subject text not null,
        user_id text not null,
        profile jsonb not null,
        created_at timestamptz not null default now(),
        last_login_at timestamptz not null default now(),
        constraint oauth_accounts_issuer_subject_key unique (issuer, subject)
      )`);
    await runner.query(`create index oauth_accounts_user_id_idx on oauth_accounts (user_id)`);

    await runner.query(`
      create table oauth_grants (
        id uuid not null constraint oauth_grants_pkey primary key,
        account_id uuid not null constraint oauth_grants_account_id_fkey references oauth_accounts on delete cascade,
        session_id uuid,
        provider text not null,
        scope text[] not null,
        refresh_token text,
        refresh_expires_at timestamptz,
        dpop_key text,
        version integer not null default 1,
        status text not null default 'active',
        status_reason text,
        lease_owner uuid,
        lease_until timestamptz,
        refresh_sent_at timestamptz,
        lost_answers integer not null default 0,
        created_at timestamptz not null default now(),
        updated_at timestamptz not null default now(),
        constraint oauth_grants_status_check check (status in ('active', 'reauth_required', 'revoked'))
      )`);
    await runner.query(
      `create unique index oauth_grants_account_id_key on oauth_grants (account_id) where session_id is null`,
    );
    await runner.query(`create index oauth_grants_account_id_idx on oauth_grants (account_id)`);
    await runner.query(
      `create unique index oauth_grants_session_id_key on oauth_grants (session_id) where session_id is not null`,
    );

    await runner.query(`
      create table oauth_access_tokens (
        grant_id uuid not null constraint oauth_access_tokens_grant_id_fkey references oauth_grants on delete cascade,
        audience text not null,
        token text not null,
        token_type text not null,
        scope text[] not null,
        issued_at timestamptz not null default now(),
        expires_at timestamptz,
        refreshed_at timestamptz,
        dpop_key text,
        constraint oauth_access_tokens_pkey primary key (grant_id, audience)
      )`);

    await runner.query(`
      create table oauth_sessions (
        id uuid not null constraint oauth_sessions_pkey primary key,
        token_hash bytea not null constraint oauth_sessions_token_hash_key unique,
        user_id text not null,
        account_id uuid not null constraint oauth_sessions_account_id_fkey references oauth_accounts on delete cascade,
        grant_id uuid constraint oauth_sessions_grant_id_fkey references oauth_grants on delete set null,
        provider text not null,
        sid text,
        auth_time timestamptz,
        acr text,
        amr text[],
        created_at timestamptz not null default now(),
        last_seen_at timestamptz not null default now(),
        idle_expires_at timestamptz not null,
        expires_at timestamptz not null,
        ip text,
        user_agent text,
        id_token text
      )`);
    await runner.query(`create index oauth_sessions_user_id_idx on oauth_sessions (user_id)`);
    await runner.query(`create index oauth_sessions_account_id_idx on oauth_sessions (account_id)`);
    await runner.query(`create index oauth_sessions_grant_id_idx on oauth_sessions (grant_id)`);
    await runner.query(`create index oauth_sessions_idle_expires_at_idx on oauth_sessions (idle_expires_at)`);
    await runner.query(`create index oauth_sessions_expires_at_idx on oauth_sessions (expires_at)`);

    await runner.query(`
      create table oauth_logout_tokens (
        token_hash bytea not null constraint oauth_logout_tokens_pkey primary key,
        issuer text not null,
        sid text,
        sub text,
        received_at timestamptz not null default now()
      )`);
    await runner.query(`create index oauth_logout_tokens_issuer_sid_idx on oauth_logout_tokens (issuer, sid)`);
    await runner.query(`create index oauth_logout_tokens_issuer_sub_idx on oauth_logout_tokens (issuer, sub)`);
    await runner.query(`create index oauth_logout_tokens_received_at_idx on oauth_logout_tokens (received_at)`);

    await runner.query(`
      create table oauth_revocations (
        id uuid not null constraint oauth_revocations_pkey primary key,
        provider text not null,
        issuer text not null,
        subject text not null,
        token text not null,
        hint text not null,
        attempts integer not null default 0,
        created_at timestamptz not null default now(),
        next_attempt_at timestamptz not null default now(),
        waiting boolean not null default false,
        expires_at timestamptz not null
      )`);
    await runner.query(`create index oauth_revocations_next_attempt_at_idx on oauth_revocations (next_attempt_at)`);
    await runner.query(`create index oauth_revocations_waiting_idx on oauth_revocations (id) where waiting`);
  }

  async down(runner: QueryRunner): Promise<void> {
    for (const table of ['revocations', 'logout_tokens', 'sessions', 'access_tokens', 'grants', 'accounts', 'states']) {
      await runner.query(`drop table oauth_${table}`);
    }
  }
}
