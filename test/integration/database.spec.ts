// Statements and transactions over the application's pool, when something is wrong with them, the pool or the server.
import { createServer, type Server, type Socket } from 'node:net';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import type { DataSource } from 'typeorm';
import { Database } from '../../src/database/database.service.js';
import type { Queryable } from '../../src/database/queryable.js';
import { OAuthError } from '../../src/errors/oauth-error.js';
import type { ResolvedOptions } from '../../src/options/resolve-options.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';

const LIMIT = 1_000;

/** What pg is given to send. */
interface Sent {
  text: string;
  callback: (error: Error) => void;
}

function databaseOver(pool: pg.Pool): Database {
  return new Database(
    { driver: { master: pool, postgres: pg } } as unknown as DataSource,
    { databaseTimeout: LIMIT } as ResolvedOptions,
  );
}

/** Tells of everything that is sent over a connection; what `refusal` names an error for fails with it and is not sent. */
function watch(
  client: pg.ClientBase,
  sent: Sent[],
  refusal: (text: string) => Error | undefined = () => undefined,
): void {
  const send = client.query.bind(client) as (query: Sent) => void;
  client.query = ((query: Sent) => {
    sent.push(query);
    const error = refusal(query.text);
    if (error) process.nextTick(() => query.callback(error));
    else send(query);
  }) as unknown as typeof client.query;
}

describe('the database', () => {
  let server: TestDatabase;
  let pool: pg.Pool;

  beforeAll(async () => {
    server = await createTestDatabase({ from: 'empty' });
    await server.query('create table done (id integer)');
  });
  afterAll(() => server?.drop());
  beforeEach(async () => {
    await server.query('delete from done');
    pool = new pg.Pool({ connectionString: server.url, max: 2 });
  });
  afterEach(() => pool.end());

  it('begins a transaction, takes its locks and runs its first statement in one flight, up to one Sync', async () => {
    const sent: string[] = [];
    const client = await pool.connect();
    const { stream } = (client as unknown as { connection: { stream: { write: (chunk: Buffer) => boolean } } })
      .connection;
    const write = stream.write.bind(stream);
    stream.write = (chunk) => {
      sent.push(chunk.toString('latin1', 0, 1));
      return write(chunk);
    };
    client.release();
    const rows = await databaseOver(pool).transaction([1n, 2n], async (tx) => {
      const held = await tx.query<{ key: number }>(
        `select objid::integer as key from pg_locks where locktype = 'advisory' and pid = pg_backend_pid() order by 1`,
      );
      return [held, await tx.query('insert into done values ($1::integer) returning id', [3])];
    });
    expect(rows).toEqual([[{ key: 1 }, { key: 2 }], [{ id: 3 }]]);
    // Parse, Bind and Execute of BEGIN; Parse, then Bind and Execute of each lock; the statement, with Describe; Sync.
    expect(sent.join('')).toMatch(/^PBEPBEBEPBDESPBDESQ$/);
  });

  it('runs nothing of a transaction that did not get its locks: it would stand by itself', async () => {
    const holder = new pg.Client({ connectionString: server.url });
    await holder.connect();
    await holder.query('select pg_advisory_lock(1)');
    await pool.end();
    pool = new pg.Pool({ connectionString: server.url, max: 1, options: '-c lock_timeout=50' });
    const database = databaseOver(pool);
    const write = () =>
      database.transaction([1n], (tx) => tx.query('insert into done values ($1::integer)', [1], { prepared: true }));
    await expect(write()).rejects.toMatchObject({ code: 'database_unavailable' });
    await holder.end();
    expect(await server.query('select 1 from done')).toEqual([]);
    await write();
    expect(await server.query('select 1 from done')).toHaveLength(1);
    expect(pool.totalCount).toBe(1);
  });

  it.each([
    ['idle_in_transaction_session_timeout', '25P03'],
    ['transaction_timeout', '25P04'],
    ['idle_session_timeout', '57P05'],
  ])('a connection that the server ends by %s is a lost one: its work is done over another', async (_, code) => {
    await server.query(`create sequence tries; create function ended() returns integer language plpgsql as $$ begin
      if nextval('tries') = 1 then raise exception 'terminating connection' using errcode = '${code}'; end if;
      return 1; end $$`);
    const work = (over: Queryable) => over.query<{ one: number }>('select ended() as one');
    try {
      const database = databaseOver(pool);
      expect(await database.transaction([1n], work)).toEqual([{ one: 1 }]);
      await server.query('alter sequence tries restart');
      expect(await database.query('select ended() as one', [], { retry: true })).toEqual([{ one: 1 }]);
      await server.query('alter sequence tries restart');
      await expect(work(database)).rejects.toMatchObject({ code: 'database_unavailable' });
      expect(pool.totalCount).toBe(0);
    } finally {
      await server.query('drop function ended; drop sequence tries');
    }
  });

  it('commits a single statement in the same flight, and asks again when the answer is lost', async () => {
    let lost = 0;
    pool.on('connect', (client) => {
      const { stream } = (client as unknown as { connection: { stream: Socket } }).connection;
      const write = stream.write.bind(stream);
      stream.write = (chunk: Buffer | string) => {
        if (lost === 0 && chunk.includes('commit')) {
          lost++;
          stream.removeAllListeners('data');
          // The server has long committed by then.
          setTimeout(() => stream.destroy(Object.assign(new Error('reset'), { code: 'ECONNRESET' })), 100);
        }
        return write(chunk);
      };
    });
    const once = 'insert into done select 5 where not exists (select 1 from done where id = 5) returning id';
    const database = databaseOver(pool);
    expect(await database.transaction([1n], (tx) => tx.query(once), { single: true })).toEqual([]);
    expect(lost).toBe(1);
    expect(await server.query('select id from done')).toEqual([{ id: 5 }]);
  });

  it('a single statement that fails is undone, what throws after it is not, and a second one is refused', async () => {
    const database = databaseOver(pool);
    const insert = 'insert into done values ($1::integer) returning 1 / ($1::integer - 1) as one';
    const single = (work: (tx: Queryable) => Promise<unknown>) => database.transaction([1n], work, { single: true });
    await expect(single((tx) => tx.query(insert, [1]))).rejects.toMatchObject({ code: 'server_error' });
    expect(await server.query('select id from done')).toEqual([]);
    const thrown = single(async (tx) => {
      await tx.query(insert, [2]);
      throw new OAuthError('not_found');
    });
    await expect(thrown).rejects.toMatchObject({ code: 'not_found' });
    const two = single(async (tx) => {
      await tx.query(insert, [3]);
      await tx.query(insert, [4]);
    });
    await expect(two).rejects.toMatchObject({ code: 'server_error' });
    expect(await server.query('select id from done order by id')).toEqual([{ id: 2 }, { id: 3 }]);
  });

  it('sends nothing for a transaction that asks nothing', async () => {
    const sent: Sent[] = [];
    pool.on('connect', (client) => watch(client, sent));
    expect(await databaseOver(pool).transaction([1n], () => Promise.resolve('nothing'))).toBe('nothing');
    expect(sent).toEqual([]);
  });

  it('leaves a statement the time that is left after the wait for a connection', async () => {
    const busy = await Promise.all([pool.connect(), pool.connect()]);
    const begun = performance.now();
    const asked = databaseOver(pool).query('select pg_sleep(5)');
    setTimeout(() => busy.forEach((client) => client.release()), LIMIT * 0.9);
    await expect(asked).rejects.toMatchObject({ code: 'database_unavailable' });
    expect(performance.now() - begun).toBeLessThan(LIMIT * 1.6);
  });

  describe('asked for texts', () => {
    const ask = (database: Database, text: string, ...values: string[]) =>
      new Promise<unknown>((resolve, reject) => {
        database.ask(text, values, LIMIT, (error, rows) => (error ? reject(error) : resolve(rows)));
      });

    it.each([{}, { pipeline: true }, { binary: true }])(
      'answers with them over connections set to %j',
      async (settings) => {
        await pool.end();
        pool = new pg.Pool({ connectionString: server.url, max: 2, ...settings });
        const database = databaseOver(pool);
        const text = `select n, null, date_part('epoch', timestamptz '2026-01-01 00:00:00.5+00') from generate_series(1, $1::integer) n`;
        // Not prepared yet, then prepared by several at once, then known.
        for (const count of [0, 2, 1, 2]) {
          const rows = Array.from({ length: count }, (_, n) => [String(n + 1), null, '1767225600.5']);
          const answers = await Promise.all([0, 1, 2].map(() => ask(database, text, String(count))));
          expect(answers).toEqual([rows, rows, rows]);
        }
        expect(await database.query('select 1 as one')).toEqual([{ one: 1 }]);
      },
    );

    it('says what is wrong with a statement, and keeps the connection', async () => {
      const database = databaseOver(pool);
      for (let time = 0; time < 2; time++)
        await expect(ask(database, 'select 1 / $1::integer', '0')).rejects.toMatchObject({
          code: 'server_error',
          cause: { code: '22012' },
        });
      expect(await ask(database, 'select 1 / $1::integer', '1')).toEqual([['1']]);
      expect(pool.totalCount).toBe(1);
    });

    it('asks once more when the connection is lost, within the time it has', async () => {
      const database = databaseOver(pool);
      await ask(database, 'select $1::text', 'warm');
      const asked = ask(database, 'select $1::text, pg_sleep(0.3)', 'again');
      await sleep(100);
      await server.query(
        `select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and query like '%pg_sleep(0.3)%' and pid <> pg_backend_pid()`,
      );
      expect(await asked).toEqual([['again', '']]);
      const begun = performance.now();
      await expect(ask(database, 'select $1::text, pg_sleep(5)', 'late')).rejects.toMatchObject({
        code: 'database_unavailable',
      });
      expect(performance.now() - begun).toBeLessThan(LIMIT * 1.6);
      await sleep(50);
      expect(pool.totalCount - pool.idleCount).toBe(0);
    });

    it('tells whoever throws over the rows of his own fault, and nobody else', async () => {
      const database = databaseOver(pool);
      const told: unknown[] = [];
      await new Promise<void>((resolve) => {
        database.ask('select $1::text', ['x'], LIMIT, (error) => {
          told.push(error?.message);
          if (!error) throw new Error('fault');
          resolve();
        });
      });
      expect(told).toHaveLength(2);
      expect(await ask(database, 'select $1::text', 'y')).toEqual([['y']]);
    });
  });

  describe('whose prepared statements are gone', () => {
    type Read = (database: Database) => Promise<unknown>;
    const asked: Read = (database) =>
      new Promise((resolve, reject) => {
        database.ask('select label from things where id = $1::integer', ['1'], LIMIT, (error, rows) =>
          error ? reject(error) : resolve(rows),
        );
      });
    const queried: Read = (database) =>
      database.query('select * from things where id = $1::integer', [1], { prepared: true });
    const inTransaction: Read = (database) =>
      database.transaction([1n], (tx) =>
        tx.query('select * from things where id = $1::integer', [1], { prepared: true }),
      );

    /** What the application does on connections that are its own as well. */
    const forget = {
      'discard all': (client: pg.ClientBase) => client.query('discard all'),
      'deallocate all': (client: pg.ClientBase) => client.query('deallocate all'),
    };

    /** Every connection of the pool has prepared it: all are taken at the same time. */
    async function onEach(work: (client: pg.ClientBase) => Promise<unknown>): Promise<void> {
      const clients = await Promise.all(Array.from({ length: pool.options.max }, () => pool.connect()));
      try {
        await Promise.all(clients.map(work));
      } finally {
        for (const client of clients) client.release();
      }
    }
    const prepare = (database: Database, read: Read): Promise<unknown> =>
      Promise.all(Array.from({ length: pool.options.max * 2 }, () => read(database)));
    const open = async (max: number): Promise<Database> => {
      await pool.end();
      pool = new pg.Pool({ connectionString: server.url, max });
      const database = databaseOver(pool);
      await database.isDirect();
      return database;
    };

    beforeEach(async () => {
      await server.query('drop table if exists things');
      await server.query(`create table things as select 1 as id, 'one' as label`);
    });

    const READS = { ask: asked, query: queried, transaction: inTransaction };
    const CASES = (Object.keys(READS) as (keyof typeof READS)[]).flatMap((how) =>
      (Object.keys(forget) as (keyof typeof forget)[]).flatMap((what) => [1, 3].map((max) => ({ how, what, max }))),
    );
    it.each(CASES)('$how after $what on a pool of $max: answered, and prepared anew', async ({ how, what, max }) => {
      const read = READS[how];
      const database = await open(max);
      const before = await read(database);
      await prepare(database, read);
      await onEach(forget[what]);
      for (let round = 0; round < 2 * max; round++) expect(await read(database)).toEqual(before);
      expect(await prepare(database, read)).toEqual(Array.from({ length: 2 * max }, () => before));
      await sleep(50);
      expect([pool.waitingCount, pool.totalCount - pool.idleCount]).toEqual([0, 0]);
    });

    const changed = { id: 1, label: 'one', more: null };
    it.each<[keyof typeof READS, unknown]>([
      ['ask', ['one']],
      ['query', changed],
      ['transaction', changed],
    ])(
      '%s after a migration that changed the types of what is answered, on every connection at once',
      async (how, row) => {
        const read = READS[how];
        const database = await open(3);
        await prepare(database, read);
        await server.query('alter table things alter column label type varchar(10), add column more integer');
        expect(await Promise.all(Array.from({ length: 6 }, () => read(database)))).toEqual(Array(6).fill([row]));
      },
    );

    it('writes once', async () => {
      const database = await open(1);
      const write = (id: number) =>
        database.query('insert into done values ($1::integer) returning id', [id], { prepared: true });
      await write(1);
      await onEach(forget['discard all']);
      expect(await write(2)).toEqual([{ id: 2 }]);
      expect(await server.query('select id from done order by id')).toEqual([{ id: 1 }, { id: 2 }]);
    });

    it('runs a transaction again as a whole, once', async () => {
      const database = await open(1);
      let runs = 0;
      const write = (id: number) =>
        database.transaction([1n], async (tx) => {
          runs++;
          await tx.query('insert into done values ($1::integer)', [id]);
          return tx.query('select label from things where id = $1::integer', [1], { prepared: true });
        });
      await write(1);
      await onEach(forget['discard all']);
      expect(await write(2)).toEqual([{ label: 'one' }]);
      expect(runs).toBe(3);
      expect(await server.query('select id from done order by id')).toEqual([{ id: 1 }, { id: 2 }]);
    });

    it('does not take what else is not supported for that, and sends it once', async () => {
      const database = await open(1);
      const sent: Sent[] = [];
      await onEach(async (client) => watch(client, sent));
      const grouped = 'select id from things where id = $1::integer group by id for update';
      await expect(database.query(grouped, [1], { prepared: true, retry: true })).rejects.toMatchObject({
        code: 'server_error',
        cause: { code: '0A000' },
      });
      expect(sent.map(({ text }) => text)).toEqual([grouped]);
      expect(pool.totalCount).toBe(1);
    });

    it('a value that could not be sent costs the statement its name on that connection only', async () => {
      const database = await open(1);
      const unsendable = {
        toPostgres: () => {
          throw new Error('cannot be sent');
        },
      };
      const read = (id: unknown) =>
        database.query('select label from things where id = $1::integer', [id], { prepared: true });
      await expect(read(unsendable)).rejects.toMatchObject({ code: 'server_error' });
      expect(await read(1)).toEqual([{ label: 'one' }]);
      expect(await read(1)).toEqual([{ label: 'one' }]);
    });
  });

  it('a value that cannot be sent is an error, once, and costs nobody else a connection', async () => {
    const database = databaseOver(pool);
    const unsendable = {
      toPostgres: () => {
        throw new Error('cannot be sent');
      },
    };
    const outcomes = await Promise.allSettled([
      ...Array.from({ length: 4 }, () => database.query('select $1::text', [unsendable])),
      ...Array.from({ length: 4 }, (_, id) =>
        database.transaction([], async (tx) => {
          await tx.query('insert into done values ($1::integer)', [id]);
          await tx.query('select 1');
        }),
      ),
    ]);
    expect(outcomes.map(({ status }) => status)).toEqual([
      ...Array.from({ length: 4 }, () => 'rejected'),
      ...Array.from({ length: 4 }, () => 'fulfilled'),
    ]);
    expect(await server.query('select id from done order by id')).toHaveLength(4);
    await sleep(20);
    expect([pool.waitingCount, pool.totalCount - pool.idleCount]).toEqual([0, 0]);
  });

  it.each(['read committed', 'repeatable read', 'serializable'])(
    'judges under its locks also where %s is the default',
    async (level) => {
      await pool.end();
      pool = new pg.Pool({
        connectionString: server.url,
        max: 4,
        options: `-c default_transaction_isolation=${level.replace(' ', '\\ ')}`,
      });
      const database = databaseOver(pool);
      const once = () =>
        database.transaction([7n], async (tx) => {
          await sleep(30);
          const found = await tx.query('select 1 from done');
          if (found.length === 0) await tx.query('insert into done values (1)');
        });
      await Promise.all([once(), once(), once(), once()]);
      expect(await server.query('select 1 from done')).toHaveLength(1);
    },
  );

  it('single statements go on where serializable is the default, though a pool of them meets', async () => {
    await pool.end();
    const options = '-c default_transaction_isolation=serializable';
    pool = new pg.Pool({ connectionString: server.url, max: 8, options });
    const database = databaseOver(pool);
    await server.query('insert into done values (0)');
    const add = () => database.query('update done set id = id + 1 where pg_sleep(0.002) is not null');
    // Each of the others can end a statement once: eight meet, and seven of them are in its way.
    await Promise.all(Array.from({ length: 8 }, add));
    expect(await server.query('select id from done')).toEqual([{ id: 8 }]);
  });

  it('a question that a conflict has ended is asked again', async () => {
    const sent: Sent[] = [];
    const conflict = Object.assign(new Error('could not serialize access'), { code: '40001' });
    pool.on('connect', (client) =>
      watch(client, sent, (text) => (text === 'select 7::text as seven' && sent.length < 4 ? conflict : undefined)),
    );
    const rows = await new Promise((resolve, reject) =>
      databaseOver(pool).ask('select 7::text as seven', [], LIMIT, (error, found) =>
        error ? reject(error) : resolve(found),
      ),
    );
    expect(rows).toEqual([['7']]);
  });

  it('a statement that conflicts every time is given up after ten, and does not keep the server busy until its time is up', async () => {
    const sent: Sent[] = [];
    const conflict = Object.assign(new Error('could not serialize access'), { code: '40001' });
    pool.on('connect', (client) =>
      watch(client, sent, (text) => (text === 'select 7::text as seven' ? conflict : undefined)),
    );
    const database = databaseOver(pool);
    const tries = () => sent.filter(({ text }) => text === 'select 7::text as seven').length;
    await expect(database.query('select 7::text as seven')).rejects.toMatchObject({ code: 'database_unavailable' });
    expect(tries()).toBe(10);
    const asked = new Promise((resolve, reject) =>
      database.ask('select 7::text as seven', [], LIMIT, (error, found) => (error ? reject(error) : resolve(found))),
    );
    await expect(asked).rejects.toMatchObject({ code: 'database_unavailable' });
    expect(tries()).toBe(20);
  });

  it('a connection that dies in the moment in which it becomes ready ends nothing else', async () => {
    const message = (type: string, body: Buffer): Buffer => {
      const size = Buffer.alloc(4);
      size.writeInt32BE(body.length + 4);
      return Buffer.concat([Buffer.from(type), size, body]);
    };
    const fatal = Buffer.from('SFATAL\0VFATAL\0C57P01\0Mterminating connection due to administrator command\0\0');
    const dying: Server = createServer((socket) => {
      socket.on('error', () => undefined);
      socket.once('data', () =>
        socket.end(
          Buffer.concat([
            message('R', Buffer.alloc(4)),
            message('K', Buffer.alloc(8)),
            message('Z', Buffer.from('I')),
            message('E', fatal),
          ]),
        ),
      );
    });
    await new Promise<void>((resolve) => dying.listen(0, '127.0.0.1', resolve));
    const doomed = new pg.Pool({ host: '127.0.0.1', port: (dying.address() as AddressInfo).port, user: 'nobody' });
    const database = databaseOver(doomed);
    for (let round = 0; round < 3; round++) {
      await expect(database.query('select 1', [], { retry: true })).rejects.toMatchObject({
        code: 'database_unavailable',
      });
      await expect(database.transaction([], (tx) => tx.query('select 1'))).rejects.toMatchObject({
        code: 'database_unavailable',
      });
    }
    await doomed.end();
    await new Promise((resolve) => dying.close(resolve));
  });
});
