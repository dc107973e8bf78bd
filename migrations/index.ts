// `nest-oauth-client/migrations`
import { CreateOAuthTables1764000000000 } from './1764000000000-create-oauth-tables.js';
import { NotifyOAuthSessionChanges1764000000001 } from './1764000000001-notify-session-changes.js';
import { IndexOAuthSessionSid1764000000002 } from './1764000000002-index-session-sid.js';

export { migratedDataSource } from './migrated-data-source.js';

/** Migrations of all tables, for `TypeOrmModule`'s `migrations`, besides the application's own. */
export const oauthMigrations = [CreateOAuthTables1764000000000, IndexOAuthSessionSid1764000000002];

/** Migrations that `session: { cache: 'coherent' }` needs besides: `[...oauthMigrations, ...oauthCacheMigrations]`. */
export const oauthCacheMigrations = [NotifyOAuthSessionChanges1764000000001];
