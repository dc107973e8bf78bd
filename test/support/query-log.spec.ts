import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import pg from 'pg';
import { createTestDatabase, type TestDatabase } from './database.js';
import { startQueryLog } from './query-log.js';

describe('startQueryLog', () => {
  let database: TestDatabase;
  beforeAll(async () => {
    database = await createTestDatabase({ from: 'empty' });
    await database.query('create table note (id int primary key)');
  });
  afterAll(() => database.drop());

  async function connect(url: string): Promise<pg.Client> {
    const client = new pg.Client({ connectionString: url });
    client.on('error', () => {});
    await client.connect();
    return client;
  }

  it('lists simple, parameterised and named statements, and tells transactions from work', async () => {
    await using log = await startQueryLog(database);
    const client = await connect(log.url);
    const named = { name: 'add', text: 'insert into note values ($1)' };
    await client.query('/* mine */ begin; select 1');
    await client.query('select $1::text', ['ä'.repeat(70_000)]);
    await client.query({ ...named, values: [1] });
    await client.query({ ...named, values: [2] });
    await client.query('select $1::bytea, $2::int', [Buffer.from('ab'), null]);
    await client.query('ROLLBACK');
    await client.end();

    expect(log.statements.map(({ kind }) => kind)).toEqual(['begin', 'other', 'other', 'other', 'other', 'rollback']);
    expect(log.work.map(({ name }) => name)).toEqual(['', 'add', 'add', '']);
    expect(log.work[0]?.parameters[0]).toHaveLength(70_000);
    expect(log.work[2]).toMatchObject({ sql: named.text, parameters: ['2'], connection: 1 });
    expect(log.work[3]?.parameters).toEqual(['\\x6162', null]);
    expect(log.roundTrips).toBe(6);
    log.clear();
    expect([log.statements, log.roundTrips]).toEqual([[], 0]);
  });

  it('cuts before a statement: it never happened', async () => {
    await using log = await startQueryLog(database);
    const client = await connect(log.url);
    log.decide = ({ sql }) => (sql.startsWith('insert') ? 'cut' : 'pass');
    await expect(client.query('insert into note values ($1)', [10])).rejects.toThrow();
    expect(await database.query('select id from note where id = 10')).toEqual([]);
  });

  it('loses the answer to a commit: it happened, and the client cannot know', async () => {
    await using log = await startQueryLog(database);
    const client = await connect(log.url);
    log.decide = ({ kind }) => (kind === 'commit' ? 'lose-answer' : 'pass');
    await client.query('begin');
    await client.query('insert into note values (11)');
    await expect(client.query('commit')).rejects.toThrow();
    expect(await database.query('select id from note where id = 11')).toEqual([{ id: 11 }]);
  });
});
