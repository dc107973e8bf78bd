// Tells faults of the connection (try again later) from faults of the statement (ours).
import { OAuthError } from '../errors/oauth-error.js';

const NETWORK = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  'ENOTFOUND',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'EAI_AGAIN',
  'ENOENT',
]);
/** SQLSTATE classes and codes that say "not now": connection, resources, operator intervention, read-only standby, bounds of the server. */
const SQLSTATE_AWAY = /^(08...|53...|57P0[1-5]|57014|25006|25P0[34]|58...|3D000|28...)$/;
const SQLSTATE_CONFLICT = /^(40001|40P01|55P03)$/;
const MESSAGES =
  /connection terminated|connection ended|not queryable|query read timeout|timeout exceeded|timeout expired|no connection|connection error|cannot use a pool after/i;

/**
 * How often a single statement is sent in all that conflicts with others: each time another one has come further. Not for as
 * long as there is time: where every try ends so, the server would be kept busy with them.
 */
export const CONFLICT_TRIES = 10;

/**
 * What a server says that lets nobody into the database: closed for maintenance (`allow_connections false`, 55000), or the
 * right to connect withdrawn (42501). The same codes stand for faults of statements, which come from other routines.
 */
const NOT_ADMITTED = 'CheckMyDatabase';

/** Where servers that only speak like Postgres name no routine. */
const STALE_PLAN = /cached plan must not change result type/;

/** True when the connection was lost, refused or too slow: the statement may be tried again later. */
export function isConnectionFault(error: unknown): boolean {
  const { code, message, routine } = (error ?? {}) as { code?: string; message?: string; routine?: string };
  if (routine === NOT_ADMITTED) return true;
  if (code !== undefined && (NETWORK.has(code) || SQLSTATE_AWAY.test(code))) return true;
  if (error instanceof AggregateError) return error.errors.some(isConnectionFault);
  return code === undefined && MESSAGES.test(message ?? '');
}

/** True for serialization failures and deadlocks: nothing was done, and the whole transaction may be run again. */
export function isConflict(error: unknown): boolean {
  return SQLSTATE_CONFLICT.test((error as { code?: string } | null)?.code ?? '');
}

/**
 * True when a prepared statement is not on its connection any more (`discard all`, `deallocate all`), or answers in other
 * columns than when it was prepared there (a migration). The connection is of no use any more: the driver goes on believing
 * that it has the statement. Postgres says so at Bind, before it executes anything, and a statement that fails is undone as
 * a whole in any case; so even one that writes may be sent again, if no transaction hangs on it. `0A000` stands for every
 * other feature that is not supported as well. Messages are translated, names of routines are not.
 */
export function isStaleStatement(error: unknown): boolean {
  const { code, message, routine } = (error ?? {}) as { code?: string; message?: string; routine?: string };
  if (code === '26000') return true;
  return code === '0A000' && (routine === 'RevalidateCachedQuery' || STALE_PLAN.test(message ?? ''));
}

/** The error as callers see it: `database_unavailable` for what may pass, `server_error` for a fault of ours (e.g. missing migrations). */
export function asOAuthError(error: unknown): OAuthError {
  if (error instanceof OAuthError) return error;
  if (isConnectionFault(error) || isConflict(error)) return new OAuthError('database_unavailable', { cause: error });
  return new OAuthError('server_error', { cause: outlined(error) });
}

/** What a faulty statement says, without the row values that Postgres quotes in `detail`. */
function outlined(error: unknown): Error {
  const { code, message } = (error ?? {}) as { code?: string; message?: string };
  const hint =
    code === '42P01' || code === '42703'
      ? ': the migrations of nest-oauth-client have not been run; give TypeORM `migrations: oauthMigrations` with `dataSourceFactory: migratedDataSource`, or `migrationsRun: true`'
      : '';
  return Object.assign(new Error(`${message ?? 'unknown database error'}${hint}`), code === undefined ? {} : { code });
}
