import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import pg from 'pg';
import { createTestDatabase, type TestDatabase } from './database.js';
import { startTcpProxy } from './tcp-proxy.js';

/** A connection that may be broken without upsetting the test. */
async function connect(url: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url });
  client.on('error', () => {});
  await client.connect();
  return client;
}

const ONE = 'select 1 as one';
const soon = (milliseconds: number) =>
  new Promise<string>((done) => setTimeout(() => done('nothing yet'), milliseconds));

describe('startTcpProxy', () => {
  let database: TestDatabase;
  beforeAll(async () => {
    database = await createTestDatabase({ from: 'empty' });
  });
  afterAll(() => database.drop());

  it('passes everything on and counts', async () => {
    await using proxy = await startTcpProxy({ target: database.url });
    const client = await connect(proxy.urlFor(database.url));
    const { rows } = await client.query("select repeat('x', 1000000) as long");
    expect(rows[0].long).toHaveLength(1_000_000);
    expect(proxy).toMatchObject({ accepted: 1, connections: { size: 1 } });
    expect(proxy.bytesToClient).toBeGreaterThan(1_000_000);
    await client.end();
  });

  it('cuts open connections and takes new ones', async () => {
    await using proxy = await startTcpProxy({ target: database.url });
    const client = await connect(proxy.urlFor(database.url));
    const pending = expect(client.query('select pg_sleep(10)')).rejects.toThrow(/ECONNRESET|terminated/);
    proxy.cut();
    await pending;
    const next = await connect(proxy.urlFor(database.url));
    expect((await next.query(ONE)).rows).toEqual([{ one: 1 }]);
    await next.end();
  });

  it('stalls open and new connections until it resumes', async () => {
    await using proxy = await startTcpProxy({ target: database.url });
    const client = await connect(proxy.urlFor(database.url));
    proxy.stall();
    const answer = client.query(ONE).then(() => 'answered');
    const connected = connect(proxy.urlFor(database.url));
    expect(await Promise.race([answer, connected, soon(200)])).toBe('nothing yet');
    await proxy.resume();
    expect(await answer).toBe('answered');
    await (await connected).end();
    await client.end();
  });

  it('refuses new connections, leaves open ones alone, and comes back on the same port', async () => {
    await using proxy = await startTcpProxy({ target: database.url });
    const url = proxy.urlFor(database.url);
    const client = await connect(url);
    await proxy.refuse();
    await expect(connect(url)).rejects.toThrow('ECONNREFUSED');
    expect((await client.query(ONE)).rowCount).toBe(1);
    await proxy.resume();
    await (await connect(url)).end();
    await client.end();
  });

  it('delays both directions', async () => {
    await using proxy = await startTcpProxy({ target: database.url });
    const client = await connect(proxy.urlFor(database.url));
    proxy.delay(100);
    const before = performance.now();
    await client.query(ONE);
    expect(performance.now() - before).toBeGreaterThan(190);
    proxy.delay(0);
    await client.end();
  });
});
