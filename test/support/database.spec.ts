import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { createTestDatabase, type TestDatabase } from './database.js';

describe('createTestDatabase', () => {
  let first: TestDatabase;
  beforeAll(async () => {
    first = await createTestDatabase();
  });
  afterAll(() => first.drop());

  it('gives a database of its own, with what the template holds and nothing of others', async () => {
    await first.query('create table of_mine (id int)');
    await using second = await createTestDatabase();
    const tables = (database: TestDatabase) =>
      database.query("select table_name from information_schema.tables where table_schema = 'public' order by 1");
    const mine = await tables(first);
    expect(mine).toContainEqual({ table_name: 'oauth_sessions' });
    expect(mine).toContainEqual({ table_name: 'of_mine' });
    expect(await tables(second)).toEqual(mine.filter(({ table_name }) => table_name !== 'of_mine'));
  });

  it('makes many clones at once', async () => {
    const clones = await Promise.all(Array.from({ length: 8 }, () => createTestDatabase()));
    expect(new Set(clones.map(({ name }) => name)).size).toBe(8);
    await Promise.all(clones.map((clone) => clone.drop()));
  });

  it('gives rows, with parameters and from the last of several statements', async () => {
    expect(await first.query('select $1::int + 1 as n', [41])).toEqual([{ n: 42 }]);
    expect(await first.query('select 1 as a; select 2 as b')).toEqual([{ b: 2 }]);
  });

  it('is gone after drop, even with a connection open', async () => {
    const database = await createTestDatabase({ from: 'empty' });
    await database.query('select 1');
    await database.drop();
    await database.drop();
    const left = await first.query('select 1 from pg_database where datname = $1', [database.name]);
    expect(left).toEqual([]);
  });
});
