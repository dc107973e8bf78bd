// Statements and transactions over the application's pool, when something is wrong with them, the pool or the server.
import { createServer, type Server } from 'node:net';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import type { DataSource } from 'typeorm';
import { Database } from '../../src/database/database.service.js';
import type { ResolvedOptions } from '../../src/options/resolve-options.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';

const LIMIT = 1_000;

/** What pg is given to send. */
interface Sent {
  text: string;
  query_timeout: number;
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

  it('sends nothing of a transaction that could not begin: it would stand by itself', async () => {
    const cancelled = Object.assign(new Error('canceling statement due to user request'), { code: '57014' });
    const sent: Sent[] = [];
    pool.on('connect', (client) => watch(client, sent, (text) => (text.startsWith('begin') ? cancelled : undefined)));
    const write = databaseOver(pool).transaction([1n], (tx) => tx.query('insert into done values (1)'));
    await expect(write).rejects.toMatchObject({ code: 'database_unavailable' });
    expect(sent.filter(({ text }) => text.startsWith('insert'))).toEqual([]);
    expect(await server.query('select 1 from done')).toEqual([]);
  });

  it('leaves a statement the time that is left after the wait for a connection', async () => {
    const busy = await Promise.all([pool.connect(), pool.connect()]);
    const sent: Sent[] = [];
    for (const client of busy) watch(client, sent);
    const asked = databaseOver(pool).query('select 1');
    await sleep(LIMIT * 0.7);
    for (const client of busy) client.release();
    // Whether it is answered in so little time is not the point.
    await asked.catch(() => undefined);
    expect(sent).toHaveLength(1);
    expect(sent[0]!.query_timeout).toBeLessThanOrEqual(LIMIT * 0.31);
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
