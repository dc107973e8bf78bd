import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { oidcOf, type AppOptions, platforms, type RunningApp, startApp } from '../support/app.js';
import { startTcpProxy } from '../support/tcp-proxy.js';
import { UserAgent } from '../support/user-agent.js';
import { AccountService, SessionService, TokenService } from '../../src/index.js';
import { LookupRepository } from '../../src/sessions/lookup.repository.js';
import { FakeProvider } from '../../src/testing/index.js';

describe.each(platforms)('sessions on %s', (platform) => {
  let database: TestDatabase;
  let provider: FakeProvider;
  let app: RunningApp;
  const others: RunningApp[] = [];

  beforeAll(async () => {
    [database, provider] = await Promise.all([createTestDatabase(), FakeProvider.start()]);
    app = await startApp({ platform, database: database.url, providers: [oidcOf(provider)] });
  });
  beforeEach(() => provider.reset());
  afterEach(async () => {
    for (const other of others.splice(0)) await other.close();
  });
  afterAll(async () => {
    await app?.close();
    await provider?.close();
    await database?.drop();
  });

  async function start(oauth: AppOptions['oauth']): Promise<RunningApp> {
    const other = await startApp({
      platform,
      database: database.url,
      providers: [oidcOf(provider)],
      oauth: oauth ?? {},
    });
    others.push(other);
    return other;
  }
  async function login(at = app, sub = 'user-1'): Promise<UserAgent> {
    const agent = new UserAgent();
    provider.user({ sub });
    await agent.navigate(`${at.url}/auth/fake/login?returnTo=/me`);
    return agent;
  }
  const me = async (agent: UserAgent, at = app) =>
    (await agent.fetch(`${at.url}/me`)).json<{ user: { id: string }; session: { id: string; expiresAt: string } }>();
  const status = async (agent: UserAgent, at = app) => (await agent.fetch(`${at.url}/me`)).status;
  const row = async (id: string) => (await database.query('select * from oauth_sessions where id = $1', [id]))[0];

  it.each<[string, (text: string) => unknown]>([
    ['texts', (text) => text],
    ['objects of its own', (text) => ({ toString: () => new Date(text).toISOString() })],
  ])('times are dates also where the application has pg make %s of them', async (_, parse) => {
    const usual = pg.types.getTypeParser(1184) as (text: string) => unknown;
    const user = (await me(await login(app, 'dated'))).user.id;
    pg.types.setTypeParser(1184, parse);
    try {
      const [session] = await app.app.get(SessionService).list(user);
      const [account] = await app.app.get(AccountService).list(user);
      const token = await app.app.get(TokenService).forUser(user, 'fake').getAccessToken();
      const renewed = await app.app.get(TokenService).forUser(user, 'fake').getAccessToken({ forceRefresh: true });
      const past = [session!.createdAt, session!.lastSeenAt, account!.createdAt, account!.lastLoginAt];
      for (const date of past) expect(Math.abs(date.getTime() - Date.now())).toBeLessThan(600_000);
      for (const date of [session!.expiresAt, token.expiresAt!, renewed.expiresAt!])
        expect(date.getTime()).toBeGreaterThan(Date.now());
    } finally {
      pg.types.setTypeParser(1184, usual);
    }
  });

  it('D-012 lists one’s own sessions without secrets, ends one, ends the others', async () => {
    const [here, there, elsewhere] = [await login(app, 'a'), await login(app, 'a'), await login(app, 'a')];
    const stranger = await login(app, 'b');
    const list = (await here.fetch(`${app.url}/auth/sessions`)).json<{ id: string; current: boolean }[]>();
    expect(list.map(({ current }) => current).sort()).toEqual([false, false, true]);
    expect(Object.keys(list[0]!).sort()).toEqual(
      ['createdAt', 'current', 'expiresAt', 'id', 'ip', 'lastSeenAt', 'provider', 'userAgent'].sort(),
    );
    const remove = async (path: string) =>
      (await here.fetch(`${app.url}/auth/sessions${path}`, { method: 'DELETE' })).status;
    expect(await remove(`/${(await me(stranger)).session.id}`)).toBe(404);
    expect(await remove('/not-a-uuid')).toBe(404);
    expect(await remove(`/${(await me(there)).session.id}`)).toBe(200);
    expect([await status(here), await status(there), await status(elsewhere)]).toEqual([200, 401, 200]);
    expect(await remove('')).toBe(200);
    expect([await status(here), await status(elsewhere), await status(stranger)]).toEqual([200, 401, 200]);
    const evil = await here.fetch(`${app.url}/auth/sessions`, {
      method: 'DELETE',
      headers: { 'sec-fetch-site': 'same-site' },
    });
    expect(evil.status).toBe(403);
  });

  it('D-011 ends all sessions of a user, or of an account, from code', async () => {
    const [one, two] = [await login(app, 'c'), await login(app, 'c')];
    const service = app.app.get(SessionService);
    expect(await service.endAll((await me(one)).user.id)).toBe(2);
    expect([await status(one), await status(two)]).toEqual([401, 401]);
    const three = await login(app, 'c');
    const [account] = await database.query(`select id from oauth_accounts where subject = 'c'`);
    expect(await service.endAllOfAccount(account!.id as string)).toBe(1);
    expect(await status(three)).toBe(401);
  });

  it('A-117 C-014 says who is logged in: claims only, for no cache and no other origin', async () => {
    const agent = await login();
    const answer = await agent.fetch(`${app.url}/auth/session`, { headers: { origin: 'https://evil.example' } });
    expect(answer.headers.get('cache-control')).toBe('no-store');
    expect(answer.headers.get('vary')).toMatch(/cookie/i);
    expect(answer.headers.get('access-control-allow-origin')).toBeNull();
    for (const { value } of provider.issued) expect(answer.body).not.toContain(value);
    expect((await new UserAgent().fetch(`${app.url}/auth/session`)).status).toBe(401);
  });

  it('D-006 ends after the idle time by the database clock; use extends it, throttled and never backwards', async () => {
    const at = await start({ session: { idleTimeout: 2, touchInterval: 0.2 } });
    const agent = await login(at);
    const { session } = await me(agent, at);
    for (let use = 0; use < 6; use++) {
      await sleep(500);
      expect(await status(agent, at)).toBe(200);
    }
    await database.query(`update oauth_sessions set last_seen_at = now() + interval '1 minute' where id = $1`, [
      session.id,
    ]);
    const before = (await row(session.id))!.last_seen_at;
    await status(agent, at);
    await sleep(500);
    expect((await row(session.id))!.last_seen_at).toEqual(before);
    await sleep(2600);
    expect(await status(agent, at)).toBe(401);
  });

  it('D-006 does not end in use however short the idle time is, whatever touchInterval says', async () => {
    const at = await start({ session: { idleTimeout: 2 } });
    const agent = await login(at);
    for (let use = 0; use < 8; use++) {
      await sleep(400);
      expect(await status(agent, at)).toBe(200);
    }
  });

  it('D-007 ends at the absolute time however much it is used', async () => {
    const at = await start({ session: { absoluteTimeout: 2, idleTimeout: 2, touchInterval: 0.1 } });
    const agent = await login(at);
    const end = Date.now() + 2000;
    while (Date.now() < end - 300) {
      expect(await status(agent, at)).toBe(200);
      await sleep(100);
    }
    await sleep(700);
    expect(await status(agent, at)).toBe(401);
  });

  it('honours session_expiry of the provider and, by option, the end of the ID token', async () => {
    const ceiling = Math.floor(Date.now() / 1000) + 1000;
    provider.tamper('idToken', (claims) => ({ ...claims, session_expiry: ceiling }), { times: 1 });
    const capped = await login();
    expect(Date.parse((await me(capped)).session.expiresAt)).toBe(ceiling * 1000);
    provider.configure({ idTokenLifetime: 600 });
    const at = await start({ session: { bindToIdToken: true } });
    const bound = await login(at);
    const left = Date.parse((await me(bound, at)).session.expiresAt) - Date.now();
    expect(left).toBeGreaterThan(590_000);
    expect(left).toBeLessThanOrEqual(600_000);
  });

  it('D-012 over the limit the oldest session ends', async () => {
    const at = await start({ session: { maxPerUser: 2 } });
    const agents = [await login(at, 'm'), await login(at, 'm'), await login(at, 'm')];
    const stranger = await login(at, 'n');
    expect(await Promise.all([...agents, stranger].map((agent) => status(agent, at)))).toEqual([401, 200, 200, 200]);
  });

  it('C-015 answers an expired or garbled cookie with 401 and clears it', async () => {
    const agent = await login();
    await database.query('update oauth_sessions set expires_at = now()');
    for (const cookie of [`oauth_session=${agent.cookie('oauth_session')}`, 'oauth_session=%%%', 'oauth_session=']) {
      const answer = await agent.request({ url: `${app.url}/me`, headers: { cookie }, keepCookies: false });
      expect([answer.status, answer.setCookies[0]]).toEqual([
        401,
        expect.stringMatching(/^oauth_session=;.*Max-Age=0/),
      ]);
    }
  });

  it('C-016 200 requests beside a logout: no cookie comes back, and the row stays gone', async () => {
    const at = await start({ session: { touchInterval: 0.05 } });
    const agent = await login(at);
    const { session } = await me(agent, at);
    const headers = { cookie: `oauth_session=${agent.cookie('oauth_session')}` };
    await sleep(100);
    const requests = Array.from({ length: 200 }, () =>
      agent.request({ url: `${at.url}/me`, headers, keepCookies: false }),
    );
    const out = agent.fetch(`${at.url}/auth/logout`, { method: 'POST' });
    const answers = await Promise.all(requests);
    await out;
    await sleep(300);
    expect(await row(session.id)).toBeUndefined();
    for (const { setCookies } of answers)
      for (const cookie of setCookies) expect(cookie).toMatch(/^oauth_session=;.*Max-Age=0/);
  });

  it('C-020 another person’s login on this browser ends the first session', async () => {
    const agent = await login(app, 'first');
    const cookie = `oauth_session=${agent.cookie('oauth_session')}`;
    provider.user({ sub: 'second' });
    await agent.navigate(`${app.url}/auth/fake/login?returnTo=/me`);
    const old = await new UserAgent().request({
      url: `${app.url}/me`,
      headers: { cookie, accept: 'application/json' },
    });
    expect(old.status).toBe(401);
    expect(await status(agent)).toBe(200);
  });

  it('C-019 E-056 only metadata opens a route; people are redirected, scripts are not', async () => {
    const nobody = new UserAgent();
    for (const target of ['/me?x=/me/public', '/me?/public', '/me/%23/public', '/me;/public'])
      expect([401, 404]).toContain((await nobody.fetch(app.url + target)).status);
    const as = async (headers: Record<string, string>) =>
      (await nobody.request({ url: `${app.url}/me`, headers })).status;
    expect(await as({ 'sec-fetch-mode': 'navigate', accept: '*/*' })).toBe(302);
    expect(await as({ accept: 'text/html' })).toBe(302);
    expect(await as({ 'sec-fetch-mode': 'cors', accept: 'text/html' })).toBe(401);
    expect(await as({ accept: 'text/html', 'x-requested-with': 'XMLHttpRequest' })).toBe(401);
    expect(await as({ accept: 'application/json' })).toBe(401);
    expect(await as({})).toBe(401);
  });

  it('C-004 fails closed: 503 while the database is away, and works again after', async () => {
    const proxy = await startTcpProxy({ target: database.url });
    const at = await startApp({
      platform,
      database: proxy.urlFor(database.url),
      providers: [oidcOf(provider)],
      oauth: { databaseTimeout: 700 },
    });
    const agent = await login(at);
    await proxy.refuse();
    proxy.cut();
    const away = await agent.fetch(`${at.url}/me`);
    expect([away.status, away.headers.has('retry-after'), away.setCookies]).toEqual([503, true, []]);
    await proxy.allow();
    // One lost connection is not even noticed: the lookup is tried once more.
    expect(await status(agent, at)).toBe(200);
    proxy.cut();
    expect(await status(agent, at)).toBe(200);
    await at.close();
    await proxy.close();
  });

  it('coalesces: many requests, few queries; each batch is asked after its requests came, and fails as one', async () => {
    const agents = [await login(app, 'x'), await login(app, 'y'), await login(app, 'z')];
    const repository = app.app.get(LookupRepository, { strict: false });
    const asked: number[] = [];
    const [find, check] = [repository.findLive.bind(repository), repository.check.bind(repository)];
    let failing = false;
    const ask = (hashes: readonly string[]) => {
      asked.push(hashes.length);
      if (failing) throw Object.assign(new Error('lost'), { code: 'ECONNRESET' });
    };
    repository.findLive = (hashes, within, told) => (ask(hashes), find(hashes, within, told));
    repository.check = (hashes, within, told) => (ask(hashes), check(hashes, within, told));
    try {
      const service = app.app.get(SessionService);
      const requests = Array.from({ length: 600 }, (_, index) => ({
        headers: { cookie: `oauth_session=${agents[index % 3]!.cookie('oauth_session')}` },
      }));
      const { WebRequest } = await import('../../src/sessions/web-request.js');
      // After one that came alone, the first of many does not wait for the others; they wait for each other.
      await service.ofRequest(new WebRequest(requests[0]));
      asked.length = 0;
      const answers = await Promise.all(requests.map((request) => service.ofRequest(new WebRequest(request))));
      expect(answers.map(({ session }) => session?.user.subject)).toEqual(requests.map((_, i) => 'xyz'[i % 3]));
      expect(asked).toEqual([1, ...Array<number>(18).fill(32), 23]);
      // Never answered by a query that was already under way.
      asked.length = 0;
      const first = service.ofRequest(new WebRequest(requests[0]));
      await new Promise((resolve) => setImmediate(resolve));
      await Promise.all([first, service.ofRequest(new WebRequest(requests[0]))]);
      expect(asked).toEqual([1, 1]);
      failing = true;
      const failed = await Promise.allSettled(
        requests.slice(0, 9).map((request) => service.ofRequest(new WebRequest(request))),
      );
      expect(failed.every(({ status: outcome }) => outcome === 'rejected')).toBe(true);
    } finally {
      Object.assign(repository, { findLive: find, check });
    }
  });
});
