import { setTimeout as sleep } from 'node:timers/promises';
import { DataSource } from 'typeorm';
import { oauthCacheMigrations, oauthMigrations } from '../../migrations/index.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { type RunningApp, startApp } from '../support/app.js';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.js';
import { captureOutput } from '../support/captured-output.js';
import { Database } from '../../src/database/database.service.js';
import { Listener } from '../../src/database/listener.service.js';
import { SESSIONS_CHANNEL, SessionCache } from '../../src/sessions/session-cache.service.js';
import { oauth2 } from '../../src/index.js';

const provider = oauth2({
  name: 'acme',
  authorizationEndpoint: 'http://localhost:9/a',
  tokenEndpoint: 'http://localhost:9/t',
  clientId: 'c',
  clientSecret: 's',
  profile: () => ({ id: '1' }),
});

async function until(condition: () => boolean, patience = 10_000): Promise<void> {
  for (const end = performance.now() + patience; !condition(); await sleep(10))
    if (performance.now() > end) throw new Error('waited in vain');
}

describe('the listening connection', () => {
  let database: TestDatabase;
  let proxy: TcpProxy;
  let app: RunningApp;
  let listener: Listener;

  beforeAll(async () => {
    database = await createTestDatabase();
    const migrations = [...oauthMigrations, ...oauthCacheMigrations];
    const source = await new DataSource({ type: 'postgres', url: database.url, migrations }).initialize();
    await source.runMigrations();
    await source.destroy();
    proxy = await startTcpProxy({ target: database.url });
    app = await startApp({
      database: database.url,
      providers: [provider],
      oauth: { listen: { url: proxy.urlFor(database.url) }, session: { cache: 'coherent', stalenessBound: 0.4 } },
    });
    listener = app.app.get(Listener);
  });
  afterAll(async () => {
    await app?.close();
    await proxy?.close();
    await database?.drop();
  });

  it('is opened only when somebody listens', async () => {
    const idle = await startTcpProxy({ target: database.url });
    const listen = { url: idle.urlFor(database.url) };
    const plain = await startApp({ database: database.url, providers: [provider], oauth: { listen } });
    await sleep(200);
    expect(idle.accepted).toBe(0);
    expect(plain.app.get(Listener).heartbeatAge()).toBe(Infinity);
    const stop = plain.app.get(Listener).listen('oauth_first', () => undefined);
    await until(() => idle.accepted === 1);
    stop();
    await plain.close();
    await idle.close();
  });

  it('hears what is notified, on one connection, until it is no longer wanted', async () => {
    const heard: string[] = [];
    const stop = listener.listen('oauth_test', (payload) => heard.push(payload));
    await until(() => listener.isListening('oauth_test'));
    await database.query(`select pg_notify('oauth_test', 'one')`);
    await until(() => heard.length === 1);
    stop();
    expect(listener.isListening('oauth_test')).toBe(false);
    await database.query(`select pg_notify('oauth_test', 'two')`);
    await sleep(100);
    expect(heard).toEqual(['one']);
    expect(proxy.accepted).toBe(1);
  });

  it('tells when it was interrupted and when it is back, and listens again by itself', async () => {
    const told: string[] = [];
    const stop = listener.listen('oauth_gap', {
      notified: (payload) => told.push(payload),
      interrupted: () => told.push('interrupted'),
      resumed: () => told.push('resumed'),
    });
    await until(() => listener.isListening('oauth_gap'));
    proxy.cut();
    await until(() => told.filter((item) => item === 'resumed').length === 2);
    await database.query(`select pg_notify('oauth_gap', 'after')`);
    await until(() => told.includes('after'));
    expect(told).toEqual(['resumed', 'interrupted', 'resumed', 'after']);
    stop();
  });

  it('ages its heartbeat while the network is silent', async () => {
    const stop = listener.listen('oauth_beat', () => undefined);
    await until(() => listener.isListening('oauth_beat') && listener.heartbeatAge() < 200);
    await sleep(600);
    expect(listener.heartbeatAge()).toBeLessThan(400);
    proxy.stall();
    await sleep(700);
    expect(listener.heartbeatAge()).toBeGreaterThan(500);
    await proxy.resume();
    await until(() => listener.heartbeatAge() < 200);
    stop();
  });

  it('is late while the pool cannot send its heartbeat, and keeps its connection', async () => {
    const stop = listener.listen('oauth_exhausted', () => undefined);
    await until(() => listener.isListening('oauth_exhausted') && listener.heartbeatAge() < 200);
    const accepted = proxy.accepted;
    const { pool } = app.app.get(Database);
    const clients = await Promise.all(Array.from({ length: pool.options.max }, () => pool.connect()));
    try {
      await until(() => listener.heartbeatAge() > 600);
      expect(app.app.get(SessionCache, { strict: false }).isCoherent).toBe(false);
    } finally {
      for (const client of clients) client.release();
    }
    await until(() => listener.heartbeatAge() < 200);
    expect(proxy.accepted).toBe(accepted);
    stop();
  });

  it('believes no heartbeat of another database than the pool’s, and says so once', async () => {
    const other = await createTestDatabase();
    const elsewhere = await startTcpProxy({ target: other.url });
    const said = captureOutput();
    const led = await startApp({
      logger: said.logger,
      database: database.url,
      providers: [provider],
      oauth: {
        listen: { url: elsewhere.urlFor(other.url) },
        session: { cache: 'coherent', stalenessBound: 0.4 },
        databaseTimeout: 300,
      },
    });
    try {
      const stray = led.app.get(Listener);
      await until(() => stray.isListening(SESSIONS_CHANNEL));
      let least = Infinity;
      await until(() => {
        least = Math.min(least, stray.heartbeatAge());
        return elsewhere.accepted >= 4;
      });
      expect(least).toBe(Infinity);
      expect(led.app.get(SessionCache, { strict: false }).isCoherent).toBe(false);
      const warnings = said.lines.filter(({ text }) =>
        text.includes('listen.url leads to another database than the pool'),
      );
      expect(warnings).toHaveLength(1);
    } finally {
      said.restore();
      await led.close();
      await elsewhere.close();
      await other.drop();
    }
  }, 20_000);

  it('survives handlers that throw', async () => {
    const heard: string[] = [];
    const stops = [
      listener.listen('oauth_throw', () => {
        throw new Error('boom');
      }),
      listener.listen('oauth_throw', (payload) => heard.push(payload)),
    ];
    await until(() => listener.isListening('oauth_throw'));
    await database.query(`select pg_notify('oauth_throw', 'x')`);
    await until(() => heard.length === 1);
    for (const stop of stops) stop();
  });
});
