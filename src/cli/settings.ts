// What every command needs: a connection and, for some, the keys. The same rules as for the module's options hold.
import { readFile } from 'node:fs/promises';
import pg from 'pg';
import type { KeyRing } from '../crypto/key-ring.js';
import { Sealer } from '../crypto/sealing.js';
import { CONFLICT_TRIES, isConflict } from '../database/faults.js';
import type { Queryable } from '../database/queryable.js';
import type { EncryptionKeyOptions } from '../options/options.js';
import { Problems } from '../options/problems.js';
import { resolveKeyRing } from '../options/resolve-keys.js';
import { RekeyRepository } from '../ops/rekey.repository.js';
import { Rekeyer } from '../ops/rekeyer.service.js';

/** A mistake in how the command was called. */
export class UsageError extends Error {}

/** Options of the command line. */
export interface Arguments {
  'database-url'?: string | undefined;
  keys?: string | undefined;
  'listen-url'?: string | undefined;
  'migrations-table'?: string | undefined;
  'batch-size'?: string | undefined;
  pause?: string | undefined;
  json?: boolean | undefined;
}

/** An open connection. */
export interface Connection extends Queryable {
  readonly url: string;
}

/** Runs something with a connection, and closes it. */
export async function withDatabase<T>(given: Arguments, work: (database: Connection) => Promise<T>): Promise<T> {
  // A variable that is set to nothing would lead to whatever server is the default one.
  const url = given['database-url'] ?? process.env.DATABASE_URL;
  if (!url) throw new UsageError('no database: give --database-url or set DATABASE_URL');
  checkDatabaseUrl(url, 'the URL of the database');
  const pool = new pg.Pool({ connectionString: url, max: 2, connectionTimeoutMillis: 10_000 });
  pool.on('error', () => undefined);
  const database: Connection = {
    url,
    query: async <Row extends pg.QueryResultRow>(text: string, values: readonly unknown[] = []) => {
      for (let tries = 1; ; tries++) {
        try {
          return (await pool.query<Row>(text, [...values])).rows;
        } catch (error) {
          // Nothing of it was done; where the database's default is serializable, an application at work is enough for that.
          if (!isConflict(error) || tries === CONFLICT_TRIES) throw error;
        }
      }
    },
  };
  try {
    return await work(database);
  } finally {
    await pool.end();
  }
}

/**
 * Refuses what pg would take for the name of a database on the default server, and show with the password in it.
 *
 * @throws {UsageError} which does not show it either.
 */
export function checkDatabaseUrl(url: string, what: string): void {
  // A socket on this machine is named by its path.
  if (/^(?:postgres(?:ql)?:\/\/|socket:|\/)/i.test(url) && isReadable(url)) return;
  throw new UsageError(
    `${what} cannot be read: it is postgres://user:password@host/name, with what is special in user and password percent-encoded`,
  );
}

function isReadable(url: string): boolean {
  try {
    void new pg.Client({ connectionString: url });
    return true;
  } catch (error) {
    if (error instanceof URIError || (error as NodeJS.ErrnoException).code === 'ERR_INVALID_URL') return false;
    throw error; // A certificate that it names is missing, for instance.
  }
}

/** What an error says. One for each address of a host says nothing of its own. */
export function reasonOf(error: unknown): string {
  if (error instanceof AggregateError && error.message === '') return error.errors.map(reasonOf).join('; ');
  return error instanceof Error ? error.message : 'unknown error';
}

/** The configured keys, the current one first. */
export async function keyRingOf(given: Arguments): Promise<KeyRing> {
  const text = given.keys === undefined ? process.env.OAUTH_KEYS : await readKeys(given.keys);
  if (text === undefined) throw new UsageError('no keys: give --keys FILE or set OAUTH_KEYS');
  const problems = new Problems();
  const ring = resolveKeyRing({ keys: parseKeys(text.trim()) }, problems.at('keys'));
  if (!ring || problems.list.length > 0) throw new UsageError(problems.list.join('\n'));
  return ring;
}

/** A re-sealer over a connection. Reporting needs no key. */
export function rekeyerOf(database: Queryable, ring?: KeyRing): Rekeyer {
  return new Rekeyer(new RekeyRepository(database), new Sealer(ring as KeyRing));
}

/** A whole number of the command line. */
export function wholeNumber(name: string, text: string | undefined, least: number): number | undefined {
  if (text === undefined) return undefined;
  if (!/^\d{1,6}$/.test(text) || Number(text) < least) throw new UsageError(`--${name} must be a number from ${least}`);
  return Number(text);
}

/** Who gave the keys themselves instead of a file's name must not find them in a log: the name is never shown. */
async function readKeys(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    const { code = 'unknown error' } = error as NodeJS.ErrnoException;
    throw new UsageError(
      `the keys file cannot be read (${code}): --keys takes the name of a file; the keys themselves go into it, or into OAUTH_KEYS`,
    );
  }
}

function parseKeys(text: string): EncryptionKeyOptions[] {
  if (text.startsWith('[') || text.startsWith('{')) {
    let parsed: unknown;
    try {
      parsed = JSON.parse(text);
    } catch {
      throw new UsageError('the keys are not valid JSON');
    }
    return (Array.isArray(parsed) ? parsed : (parsed as { keys?: unknown }).keys) as EncryptionKeyOptions[];
  }
  return text.split(',').map((item) => {
    const colon = item.indexOf(':');
    return { id: item.slice(0, Math.max(0, colon)).trim(), secret: item.slice(colon + 1).trim() };
  });
}
