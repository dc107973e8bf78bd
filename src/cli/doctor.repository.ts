// What `nest-oauth doctor` asks the database.
import pg from 'pg';
import type { Queryable } from '../database/queryable.js';

/** Questions of the doctor. */
export class DoctorRepository {
  constructor(private readonly database: Queryable) {}

  /** Version of the server, and whether it takes writes. */
  async server(): Promise<{ version: string; standby: boolean }> {
    const [row] = await this.database.query<{ version: string; standby: boolean }>(
      `select current_setting('server_version') as version, pg_is_in_recovery() as standby`,
    );
    return row!;
  }

  /** Names of the migrations that were run, as TypeORM notes them in that table; null when there is none. */
  async migrations(table: string): Promise<string[] | null> {
    const [row] = await this.database.query<{ found: string | null }>('select to_regclass($1)::text as found', [table]);
    if (!row?.found) return null;
    // As Postgres spells it: quoted where it has to be.
    return (await this.database.query<{ name: string }>(`select name from ${row.found}`)).map(({ name }) => name);
  }
}

/** True when this URL reaches Postgres itself: through a transaction pooler LISTEN hears nothing. */
export async function reachesPostgres(url: string): Promise<boolean> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 10_000 });
  client.on('error', () => undefined);
  await client.connect();
  try {
    const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid');
    return rows[0]?.pid === (client as pg.Client & { processID?: number }).processID;
  } finally {
    await client.end();
  }
}
