// @ts-check
// One process that migrates the database named on its command line, as an application does when it starts.
import './typescript.mjs';

const { migratedDataSource, oauthMigrations, oauthCacheMigrations } = await import('../../migrations/index.js');
const dataSource = await migratedDataSource({
  type: 'postgres',
  url: process.argv[2] ?? '',
  migrations: [...oauthMigrations, ...oauthCacheMigrations],
});
await dataSource.destroy();
