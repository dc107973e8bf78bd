// `nest-oauth doctor`: what would go wrong, before it does.
import { oauthMigrations } from '../../migrations/index.js';
import type { Queryable } from '../database/queryable.js';
import { DoctorRepository, reachesPostgres } from './doctor.repository.js';
import { totals } from './keys.js';
import {
  type Arguments,
  checkDatabaseUrl,
  keyRingOf,
  reasonOf,
  rekeyerOf,
  UsageError,
  withDatabase,
} from './settings.js';

interface Finding {
  readonly check: 'database' | 'migrations' | 'keys' | 'listen';
  readonly level: 'ok' | 'advice' | 'problem';
  readonly message: string;
}

/** Looks at the surroundings. Exit code 1 when there is a problem. */
export async function doctor(given: Arguments): Promise<number> {
  const findings: Finding[] = [];
  const listenUrl = given['listen-url'];
  if (listenUrl !== undefined) checkDatabaseUrl(listenUrl, 'the URL for LISTEN');
  const note = (check: Finding['check'], level: Finding['level'], message: string): void =>
    void findings.push({ check, level, message });
  await withDatabase(given, async (database) => {
    const repository = new DoctorRepository(database);
    const { version, standby } = await repository.server();
    if (standby) note('database', 'problem', `PostgreSQL ${version} is a read-only standby`);
    else note('database', 'ok', `PostgreSQL ${version}`);
    const table = given['migrations-table'] ?? 'migrations';
    const run = await repository.migrations(table);
    const pending = oauthMigrations.map((item) => item.name).filter((name) => !run?.includes(name));
    if (pending.length === 0) note('migrations', 'ok', `${oauthMigrations.length} run`);
    else {
      const where = run === null ? `; there is no table ${table} (--migrations-table names another)` : '';
      note('migrations', 'problem', `pending: ${pending.join(', ')}; see migratedDataSource${where}`);
    }
    if (pending.length === 0) await checkKeys(given, database, note);
    await checkListen(given, database.url, note);
  }).catch((error: unknown) => {
    // What was called wrongly is no finding. A database that is away is one, also for who reads the JSON.
    if (error instanceof UsageError) throw error;
    note('database', 'problem', reasonOf(error));
  });
  if (given.json) console.log(JSON.stringify(findings));
  else for (const { level, check, message } of findings) console.log(`${level.padEnd(8)}${check}: ${message}`);
  return findings.some((finding) => finding.level === 'problem') ? 1 : 0;
}

type Note = (check: Finding['check'], level: Finding['level'], message: string) => void;

async function checkKeys(given: Arguments, database: Queryable, note: Note): Promise<void> {
  if (given.keys === undefined && process.env.OAUTH_KEYS === undefined) {
    note('keys', 'advice', 'not checked: give --keys FILE or set OAUTH_KEYS');
    return;
  }
  const ring = await keyRingOf(given).catch((error: unknown) => {
    if (!(error instanceof UsageError)) throw error;
    note('keys', 'problem', error.message);
    return undefined;
  });
  if (!ring) return;
  const rekeyer = rekeyerOf(database, ring);
  const used = totals(await rekeyer.report());
  const unknown = [...used].filter(([keyId]) => !ring.keyIds.includes(keyId));
  for (const [keyId, rows] of unknown)
    note('keys', 'problem', `${rows} values are sealed with "${keyId}", which is not configured here: put it back`);
  const closed = (await rekeyer.sample()).filter((sample) => sample.closed > 0);
  for (const { keyId, tried, closed: count } of closed)
    note(
      'keys',
      'problem',
      `"${keyId}" does not open ${count} of ${tried} values tried: this is not the key they name`,
    );
  const old = [...used].filter(([keyId]) => ring.keyIds.includes(keyId) && keyId !== ring.currentKeyId);
  for (const [keyId, rows] of old)
    note('keys', 'advice', `${rows} values are still sealed with "${keyId}": run "nest-oauth rekey"`);
  if (used.size > 0 && !used.has(ring.currentKeyId))
    note(
      'keys',
      'advice',
      `nothing is sealed with "${ring.currentKeyId}" yet: a new key is first added last, deployed everywhere, and only then moved first, because processes that do not know it cannot open what others seal with it`,
    );
  for (const keyId of ring.keyIds.slice(1))
    if (!used.has(keyId)) note('keys', 'advice', `"${keyId}" seals nothing: it is either about to come or may go`);
  if (unknown.length === 0 && closed.length === 0)
    note('keys', 'ok', `current "${ring.currentKeyId}" of ${ring.keyIds.length}`);
}

async function checkListen(given: Arguments, url: string, note: Note): Promise<void> {
  const listenUrl = given['listen-url'];
  const direct = await reachesPostgres(listenUrl ?? url).catch((error: unknown) => {
    note('listen', 'problem', `cannot connect: ${reasonOf(error)}`);
    return null;
  });
  if (direct === true) note('listen', 'ok', 'the connection is direct');
  if (direct === false)
    note(
      'listen',
      listenUrl === undefined ? 'advice' : 'problem',
      'the connection goes through a pooler in transaction mode: name a direct one in the option listen: { url }',
    );
}
