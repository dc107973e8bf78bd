// Revoked in one process, refused in another: two real processes with the coherent cache, on a Postgres of their own, which
// is cut off, stalled, stopped and restarted.
import { mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { DataSource } from 'typeorm';
import { oauthCacheMigrations, oauthMigrations } from '../../migrations/index.js';
import { FakeProvider } from '../../src/testing/index.js';
import { freePort } from '../support/app.js';
import { startCluster } from '../support/embedded-cluster.mjs';
import { type SessionProcess, startSessionProcess } from '../support/session-process.js';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.js';
import { UserAgent } from '../support/user-agent.js';

/** Seconds. */
const BOUND = 1;
/** What a busy machine may add to a bound that timers keep, milliseconds: where nothing kept it, the session would live on. */
const LATE = 1_000;
const ROUNDS = 40;

describe('two processes', () => {
  let folder: string;
  let server: Awaited<ReturnType<typeof startCluster>>;
  let port: number;
  let provider: FakeProvider;
  let proxy: TcpProxy;
  /** Logs in and revokes. */
  let first: SessionProcess;
  /** Listens through the proxy. */
  let second: SessionProcess;
  let agents = 0;

  const boot = () => startCluster({ dataDir: folder, port, persistent: true, settings: { fsync: 'off' } });
  beforeAll(async () => {
    folder = mkdtempSync(join(realpathSync(tmpdir()), 'oauth-revocation-'));
    port = await freePort();
    [server, provider] = await Promise.all([boot(), FakeProvider.start()]);
    const migrations = [...oauthMigrations, ...oauthCacheMigrations];
    const source = await new DataSource({ type: 'postgres', url: server.url, migrations }).initialize();
    await source.runMigrations();
    await source.destroy();
    proxy = await startTcpProxy({ target: server.url });
    const ports = [await freePort(), await freePort()] as const;
    const shared = { database: server.url, issuer: provider.issuer, stalenessBound: BOUND };
    const baseUrl = `http://localhost:${ports[0]}`;
    [first, second] = await Promise.all([
      startSessionProcess({ ...shared, platform: 'express', port: ports[0], baseUrl, listenUrl: server.url }),
      startSessionProcess({
        ...{ ...shared, platform: 'fastify', port: ports[1], baseUrl },
        listenUrl: proxy.urlFor(server.url),
      }),
    ]);
  }, 120_000);
  afterEach(() => proxy.resume());
  afterAll(async () => {
    await first?.[Symbol.asyncDispose]();
    await second?.[Symbol.asyncDispose]();
    await proxy?.close();
    await provider?.close();
    await server?.stop();
    for (const path of [folder, server?.dataDir]) if (path) rmSync(path, { recursive: true, force: true });
  }, 60_000);

  const query = async (sql: string, values: unknown[] = []): Promise<Record<string, unknown>[]> => {
    const client = new pg.Client({ connectionString: server.url });
    client.on('error', () => undefined);
    await client.connect();
    try {
      return (await client.query<Record<string, unknown>>(sql, values)).rows;
    } finally {
      await client.end();
    }
  };
  const status = async (cookie: string) => {
    const answer = await fetch(`${second.url}/me`, { headers: { cookie } });
    await answer.arrayBuffer();
    return answer.status;
  };

  /** A session that the second process holds in memory, for sure. */
  async function held(): Promise<{ agent: UserAgent; cookie: string; id: string }> {
    const agent = new UserAgent();
    provider.user({ sub: `user-${++agents}` });
    const page = await agent.navigate(`${first.url}/auth/fake/login?returnTo=/me`);
    const { session } = page.json<{ session: { id: string } }>();
    const token = agent.cookie('oauth_session')!;
    for (let wait = 0; wait < 800; wait++) {
      const code = await status(`oauth_session=${token}`);
      const state = await second.state(token);
      if (code === 200 && state.held && state.coherent)
        return { agent, cookie: `oauth_session=${token}`, id: session.id };
      await sleep(25);
    }
    throw new Error('the second process never held the session');
  }
  /** Milliseconds until the second process refuses; Infinity when it never does. */
  async function untilRefused(cookie: string, began: number, patience = 10_000): Promise<number> {
    while (performance.now() - began < patience) {
      const code = await status(cookie);
      if (code === 401) return performance.now() - began;
      // Away is not through, but not yet an answer either.
      if (code !== 200 && code !== 503) throw new Error(`unexpected status ${code}`);
      await sleep(1);
    }
    return Infinity;
  }
  const remove = (id: string) => query('delete from oauth_sessions where id = $1', [id]);

  it(`D-008 a logout in one is seen by the other in milliseconds (${ROUNDS} times)`, async () => {
    const [seen, answered, after]: [number[], number[], number[]] = [[], [], []];
    for (let round = 0; round < ROUNDS; round++) {
      const { agent, cookie } = await held();
      const began = performance.now();
      const watch = untilRefused(cookie, began);
      const out = await agent.fetch(`${first.url}/auth/logout`, { method: 'POST' });
      answered.push(performance.now() - began);
      expect(out.status).toBe(200);
      seen.push(await watch);
      after.push(seen.at(-1)! - answered.at(-1)!);
    }
    const at = (times: number[], share: number) => times.sort((a, b) => a - b)[Math.floor(times.length * share)]!;
    process.stdout.write(
      `two processes, ${ROUNDS} logouts: refused by the other ${at(seen, 0.5).toFixed(1)} ms after the request to log out was sent` +
        ` (median; p90 ${at(seen, 0.9).toFixed(1)}, max ${at(seen, 0.999).toFixed(1)}); the logout itself was answered after ${at(answered, 0.5).toFixed(1)} ms\n`,
    );
    // From the answer on: how long the request itself waits on a busy machine says nothing about how fast it is heard of.
    expect(at(after, 0.5)).toBeLessThan(50);
  }, 180_000);

  it('D-009 within the bound when the listening connection is cut, and stays cut', async () => {
    const { cookie, id } = await held();
    await proxy.refuse();
    proxy.cut();
    const began = performance.now();
    await remove(id);
    expect(await untilRefused(cookie, began)).toBeLessThan(BOUND * 1000 + LATE);
  });

  it('D-009 within the bound when the listening connection is half open', async () => {
    const { cookie, id } = await held();
    proxy.stall();
    const began = performance.now();
    await remove(id);
    const took = await untilRefused(cookie, began);
    expect(took).toBeLessThan(BOUND * 1000 + LATE);
    // It was the bound that did it, and no notification that slipped through.
    expect((await second.state(cookie.split('=')[1]!)).coherent).toBe(false);
  });

  it('D-009 within the bound when the listener’s backend is stopped (kill -STOP)', async () => {
    const { cookie, id } = await held();
    const ports = [...proxy.connections].map((connection) => connection.server.localPort);
    const backends = await query('select pid from pg_stat_activity where client_port = any($1::integer[])', [ports]);
    expect(backends).toHaveLength(1);
    const pid = Number(backends[0]!.pid);
    process.kill(pid, 'SIGSTOP');
    try {
      const began = performance.now();
      await remove(id);
      expect(await untilRefused(cookie, began)).toBeLessThan(BOUND * 1000 + LATE);
    } finally {
      process.kill(pid, 'SIGCONT');
    }
  });

  it('D-009 within the bound after Postgres was restarted, never through while it is away, and cached again later', async () => {
    const { cookie, id } = await held();
    const survivor = await held();
    await server.stop();
    await sleep(300);
    expect(await status(cookie)).toBe(503);
    server = await boot();
    const began = performance.now();
    await remove(id);
    expect(await untilRefused(cookie, began)).toBeLessThan(BOUND * 1000 + LATE);
    for (let wait = 0; wait < 200 && (await status(survivor.cookie)) !== 200; wait++) await sleep(25);
    expect(await status(survivor.cookie)).toBe(200);
    const { agent, cookie: later } = await held();
    const again = performance.now();
    await agent.fetch(`${first.url}/auth/logout`, { method: 'POST' });
    expect(await untilRefused(later, again)).toBeLessThan(BOUND * 1000 + LATE);
  }, 120_000);
});
