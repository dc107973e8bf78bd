// The migrated schema is what the entities say; migrations go down again; and any number of processes may start at once.
import { execFile } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { DataSource, type QueryRunner } from 'typeorm';
import { migratedDataSource, oauthCacheMigrations, oauthMigrations } from '../../migrations/index.js';
import { oauthEntities } from '../../src/index.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';

const run = promisify(execFile);
const script = fileURLToPath(new URL('../support/migrate-once.mjs', import.meta.url));

/** What `createSchemaBuilder()` does not compare: definitions of indexes, constraints and triggers. */
async function catalog(database: TestDatabase): Promise<string[]> {
  const rows = await database.query<{ definition: string }>(`
    select 'index ' || indexdef as definition from pg_indexes where schemaname = 'public' and tablename like 'oauth%'
    union all
    select 'constraint ' || conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid) from pg_constraint
    where connamespace = 'public'::regnamespace and conrelid::regclass::text like 'oauth%' and contype <> 'n'
    union all
    select 'column ' || table_name || ' ' || column_name || ' ' || udt_name || ' ' || is_nullable || ' ' || coalesce(column_default, '-')
    from information_schema.columns where table_schema = 'public' and table_name like 'oauth%'
    union all
    select 'trigger ' || pg_get_triggerdef(oid) from pg_trigger where not tgisinternal
    order by 1`);
  return rows.map(({ definition }) => definition);
}

const options = (database: TestDatabase, changes: object = {}) =>
  ({ type: 'postgres', url: database.url, entities: oauthEntities, migrations: oauthMigrations, ...changes }) as const;

describe('migrations', () => {
  let database: TestDatabase;

  beforeEach(async () => {
    database = await createTestDatabase({ from: 'empty' });
  });
  afterEach(() => database?.drop());

  it('make exactly the schema of the entities: columns, indexes, constraints', async () => {
    const migrated = await migratedDataSource(options(database));
    expect((await migrated.driver.createSchemaBuilder().log()).upQueries.map(({ query }) => query)).toEqual([]);
    await migrated.destroy();
    await using other = await createTestDatabase({ from: 'empty' });
    const synchronized = await new DataSource({ ...options(other), synchronize: true }).initialize();
    await synchronized.destroy();
    expect(await catalog(database)).toEqual(await catalog(other));
  });

  it('go down again, and up again', async () => {
    const dataSource = await migratedDataSource(
      options(database, { migrations: [...oauthMigrations, ...oauthCacheMigrations] }),
    );
    const before = await catalog(database);
    for (let left = oauthMigrations.length + oauthCacheMigrations.length; left > 0; left--)
      await dataSource.undoLastMigration();
    expect(await catalog(database)).toEqual([]);
    const left = await database.query(`select tablename from pg_tables where schemaname = 'public'`);
    expect(left).toEqual([{ tablename: 'migrations' }]);
    expect(await database.query(`select proname from pg_proc where pronamespace = 'public'::regnamespace`)).toEqual([]);
    await dataSource.runMigrations();
    expect(await catalog(database)).toEqual(before);
    await dataSource.destroy();
  });

  it('reach a database of an earlier version, whatever its sessions have for a sid', async () => {
    const earlier = [oauthMigrations[0], ...oauthCacheMigrations];
    await (await migratedDataSource(options(database, { migrations: earlier }))).destroy();
    // Up to 2,048 characters, and an entry of a B-tree takes 2,704 bytes.
    const long = Array.from({ length: 2_048 }, () => String.fromCharCode(randomInt(0x800, 0xd800))).join('');
    await database.query(
      `with account as (
         insert into oauth_accounts (id, provider, issuer, subject, user_id, profile)
         values (gen_random_uuid(), 'p', 'https://p.example', 's', 'u', '{}') returning id
       )
       insert into oauth_sessions (id, token_hash, user_id, account_id, provider, sid, idle_expires_at, expires_at)
       select gen_random_uuid(), sha256(n::text::bytea), 'u', account.id, 'p', case n % 3 when 0 then $1 when 1 then n::text end, now(), now()
       from account, generate_series(1, 300) n`,
      [long],
    );
    const migrated = await migratedDataSource(options(database));
    const [kept] = await database.query(`select count(*)::int as n, count(sid)::int as sids from oauth_sessions`);
    expect(kept).toEqual({ n: 300, sids: 200 });
    await migrated.undoLastMigration();
    await database.query(
      `create index concurrently oauth_sessions_sid_idx on oauth_sessions (sid) where octet_length(sid) <= 2048`,
    );
    await migrated.runMigrations();
    expect((await catalog(database)).filter((line) => line.includes('(sid)'))).toHaveLength(1);
    await migrated.destroy();
  });

  it('E-013 four processes at once succeed, with one row per migration', async () => {
    const all = [...oauthMigrations, ...oauthCacheMigrations];
    await Promise.all(Array.from({ length: 4 }, () => run(process.execPath, [script, database.url])));
    const rows = await database.query<{ name: string }>(`select name from migrations order by id`);
    const byTime = (a: string, b: string) => Number(a.slice(-13)) - Number(b.slice(-13));
    expect(rows.map(({ name }) => name)).toEqual(all.map(({ name }) => name).sort(byTime));
  });

  it('migratedDataSource leaves no lock, no connection and no transaction behind', async () => {
    const dataSource = await migratedDataSource(options(database));
    const locks = await database.query(
      `select 1 from pg_locks where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())`,
    );
    expect(locks).toEqual([]);
    expect(dataSource.isInitialized).toBe(true);
    await dataSource.destroy();
    const others = await database.query(
      `select 1 from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend' and application_name <> ''`,
    );
    expect(others).toEqual([]);
  });

  it('migratedDataSource keeps its lock where the database ends idle transactions', async () => {
    await database.query(`alter database ${database.name} set idle_in_transaction_session_timeout = '200ms'`);
    class Slow1764999999999 {
      readonly name = 'Slow1764999999999';
      up = (runner: QueryRunner) => runner.query('select pg_sleep(1)');
      down = () => Promise.resolve();
    }
    const all = { migrations: [...oauthMigrations, Slow1764999999999] };
    const [first, second] = await Promise.all([1, 2].map(() => migratedDataSource(options(database, all))));
    await Promise.all([first!.destroy(), second!.destroy()]);
    expect(await database.query('select count(*)::int as n from migrations')).toEqual([{ n: 3 }]);
  });

  it('migratedDataSource tells of a failing migration, and cleans up', async () => {
    class Broken1764999999999 {
      readonly name = 'Broken1764999999999';
      up = () => Promise.reject(new Error('broken on purpose'));
      down = () => Promise.resolve();
    }
    await expect(
      migratedDataSource(options(database, { migrations: [...oauthMigrations, Broken1764999999999] })),
    ).rejects.toThrow('broken on purpose');
    const fine = await migratedDataSource(options(database));
    await fine.destroy();
    await expect(migratedDataSource({ type: 'mysql' } as never)).rejects.toThrow(/postgres/);
  });

  it('migratedDataSource refuses to synchronize, and says what to do', async () => {
    await expect(migratedDataSource({ ...options(database), synchronize: true })).rejects.toThrow(
      'leave synchronize out',
    );
  });

  it('plain migrationsRun works for one process, also with names and drift in order', async () => {
    const dataSource = await new DataSource({ ...options(database), migrationsRun: true }).initialize();
    expect(await database.query(`select count(*)::int as n from oauth_states`)).toEqual([{ n: 0 }]);
    await dataSource.destroy();
    for (const { name } of [...oauthMigrations, ...oauthCacheMigrations]) expect(name).toMatch(/^\w*OAuth\w*\d{13}$/);
  });

  it('uses no extension and no database default for ids', async () => {
    const dataSource = await migratedDataSource(options(database));
    expect(await database.query(`select extname from pg_extension where extname <> 'plpgsql'`)).toEqual([]);
    const ids = await database.query(
      `select column_default from information_schema.columns where table_name like 'oauth%' and udt_name = 'uuid' and column_default is not null`,
    );
    expect(ids).toEqual([]);
    await dataSource.destroy();
  });
});
