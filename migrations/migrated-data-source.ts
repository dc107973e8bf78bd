// TypeORM takes no lock while migrating: two processes that start together would both run the same migration.
import { setTimeout as sleep } from 'node:timers/promises';
import { DataSource, type DataSourceOptions, type QueryRunner } from 'typeorm';

/** Any fixed number; only our own processes use it. */
const MIGRATION_LOCK = 7_406_131_001;
const POLL_INTERVAL = 100;

/**
 * A `dataSourceFactory` for `TypeOrmModule.forRootAsync()` that runs pending migrations under one advisory lock, so
 * that any number of processes may start at once. The lock lives in a transaction on a connection of its own: it ends
 * with the process, and it works through a transaction pooler.
 *
 * @example TypeOrmModule.forRootAsync({ useFactory: () => ({ type: 'postgres', url, migrations: oauthMigrations }), dataSourceFactory: migratedDataSource })
 */
export async function migratedDataSource(options?: DataSourceOptions): Promise<DataSource> {
  if (options?.type !== 'postgres')
    throw new TypeError(`migratedDataSource needs type: 'postgres', got ${String(options?.type)}`);
  // Left out in silence, the application's own tables would be missing; done, it would be in the way of the migrations.
  if (options.synchronize)
    throw new TypeError(
      'migratedDataSource does not synchronize: make all tables by migrations and leave synchronize out, or let ' +
        'synchronize make all of them, without migratedDataSource and oauthMigrations (for development only)',
    );
  const lock = await new DataSource({
    ...options,
    entities: [],
    migrations: [],
    subscribers: [],
    poolSize: 1,
    migrationsRun: false,
    dropSchema: false,
  }).initialize();
  const dataSource = new DataSource({ ...options, migrationsRun: false });
  try {
    const runner = lock.createQueryRunner();
    await hold(runner);
    await dataSource.initialize();
    await dataSource.runMigrations();
    await runner.commitTransaction();
    await runner.release();
    return dataSource;
  } catch (error) {
    if (dataSource.isInitialized) await dataSource.destroy();
    throw error;
  } finally {
    await lock.destroy();
  }
}

/** Asks again and again instead of waiting inside Postgres: a waiting statement would hold up `create index concurrently`. */
async function hold(runner: QueryRunner): Promise<void> {
  for (;;) {
    await runner.startTransaction();
    const [row] = (await runner.query('select pg_try_advisory_xact_lock($1) as held', [MIGRATION_LOCK])) as [
      { held: boolean },
    ];
    if (row.held) {
      // Its transaction is idle for as long as the migrations take, and would be ended where the server bounds that
      // (`transaction_timeout` is there from Postgres 17 on).
      await runner.query(
        `select set_config(name, '0', true) from pg_settings
         where name in ('idle_in_transaction_session_timeout', 'transaction_timeout')`,
      );
      return;
    }
    await runner.rollbackTransaction();
    await sleep(POLL_INTERVAL);
  }
}
