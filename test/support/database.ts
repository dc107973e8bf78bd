// A database of its own for each test file: a clone of the migrated template, made in milliseconds.
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { SERVER_VARIABLE, TEMPLATE_VARIABLE, clonePrefix } from './test-server.mjs';

/** A database that exists for one test file. */
export interface TestDatabase extends AsyncDisposable {
  /** Connection URL of its owner, who is the server's superuser. */
  readonly url: string;
  readonly name: string;
  /** Runs one statement and gives its rows. Several statements are possible without parameters; the last one's rows count. */
  query<Row extends pg.QueryResultRow = pg.QueryResultRow>(sql: string, parameters?: unknown[]): Promise<Row[]>;
  /** Ends every connection to it and removes it. Safe to call twice. */
  drop(): Promise<void>;
}

/** Connection URL of the superuser of the test server, to its maintenance database. */
export function testServerUrl(): string {
  return fromEnvironment(SERVER_VARIABLE);
}

/**
 * Creates a database.
 *
 * @param options.from `migrated` (all migrations applied) or `empty`.
 */
export async function createTestDatabase(options: { from?: 'migrated' | 'empty' } = {}): Promise<TestDatabase> {
  const template = fromEnvironment(TEMPLATE_VARIABLE);
  const name = clonePrefix(template) + randomBytes(6).toString('hex');
  await clone(name, options.from === 'empty' ? 'template0' : template);

  const url = new URL(testServerUrl());
  url.pathname = `/${name}`;
  const pool = new pg.Pool({ connectionString: url.href, max: 4, allowExitOnIdle: true });
  // A connection that a test cuts on purpose is not this pool's misfortune.
  pool.on('error', () => {});
  let dropping: Promise<void> | undefined;
  const drop = () => (dropping ??= pool.end().then(() => onServer(`drop database if exists ${name} with (force)`)));
  return {
    url: url.href,
    name,
    async query<Row extends pg.QueryResultRow>(sql: string, parameters?: unknown[]): Promise<Row[]> {
      const result: pg.QueryResult<Row> | pg.QueryResult<Row>[] = await pool.query<Row>(sql, parameters);
      return Array.isArray(result) ? (result.at(-1)?.rows ?? []) : result.rows;
    },
    drop,
    [Symbol.asyncDispose]: drop,
  };
}

/** Copying files beats writing a log of them by far where nothing is flushed to disk, as on the embedded server. */
const strategy = process.env.DATABASE_URL ? '' : ' strategy file_copy';

/** Clones a template, waiting while somebody (an autovacuum worker) is connected to it. */
async function clone(name: string, template: string): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await onServer(`create database ${name} template ${template}${strategy}`);
    } catch (failure) {
      const busy = failure instanceof pg.DatabaseError && failure.code === '55006';
      if (!busy || attempt === 50) throw failure;
      await sleep(20 * Math.random() + 10);
    }
  }
}

async function onServer(sql: string): Promise<void> {
  const client = new pg.Client({ connectionString: testServerUrl() });
  client.on('error', () => {});
  await client.connect();
  try {
    await client.query(sql);
  } finally {
    await client.end();
  }
}

function fromEnvironment(name: string): string {
  const value = process.env[name];
  if (value === undefined) throw new Error(`${name} is not set: this test must run under test/jest.config.js.`);
  return value;
}
