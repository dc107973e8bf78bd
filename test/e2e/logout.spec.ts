import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { oidcOf, platforms, type RunningApp, startApp } from '../support/app.js';
import { UserAgent } from '../support/user-agent.js';
import { FakeProvider } from '../../src/testing/index.js';

describe.each(platforms)('logout on %s', (platform) => {
  let database: TestDatabase;
  let provider: FakeProvider;
  let app: RunningApp;

  beforeAll(async () => {
    [database, provider] = await Promise.all([createTestDatabase(), FakeProvider.start()]);
    app = await startApp({
      platform,
      database: database.url,
      providers: [oidcOf(provider)],
      oauth: { postLogoutRedirect: '/me/public', session: { clearSiteData: true } },
    });
  });
  afterEach(() => provider.clearFaults());
  afterAll(async () => {
    await app?.close();
    await provider?.close();
    await database?.drop();
  });

  async function loggedIn(): Promise<{ agent: UserAgent; cookie: string }> {
    const agent = new UserAgent();
    await agent.navigate(`${app.url}/auth/fake/login?returnTo=/me`);
    return { agent, cookie: `oauth_session=${agent.cookie('oauth_session')}` };
  }
  const status = async (cookie: string) =>
    (await new UserAgent().request({ url: `${app.url}/me`, headers: { cookie, accept: 'application/json' } })).status;

  it('A-098 leads to the provider with id_token_hint, client_id, the registered address and state, and back', async () => {
    const { agent } = await loggedIn();
    const hint = provider.issued.filter((item) => item.kind === 'idToken').at(-1)!.value;
    const out = await agent.navigate(`${app.url}/auth/logout`, { method: 'POST', form: {} });
    expect(out.hops.map((hop) => hop.status)).toEqual([303, 302, 200]);
    const url = new URL(out.hops[0]!.headers.get('location')!);
    expect(url.origin + url.pathname).toBe(provider.endpoint('end_session'));
    expect(Object.fromEntries(url.searchParams)).toEqual({
      id_token_hint: hint,
      client_id: 'client',
      post_logout_redirect_uri: `${app.url}/me/public`,
      state: expect.stringMatching(/^[\w-]{43}$/),
    });
    expect(provider.endSessions.at(-1)!.hint).toMatchObject({ sub: 'user-1' });
    expect(out.url).toMatch(new RegExp(`^${app.url}/me/public\\?state=`));
  });

  it('A-098 sends the hint also after the provider has rotated its keys', async () => {
    const { agent } = await loggedIn();
    await provider.rotateKeys();
    const { logoutUrl } = (await agent.fetch(`${app.url}/auth/logout`, { method: 'POST' })).json<{
      logoutUrl: string;
    }>();
    await agent.navigate(logoutUrl);
    expect(provider.endSessions.at(-1)!.hint).toMatchObject({ sub: 'user-1' });
  });

  it('A-099 lands on a harmless page whatever state and redirect the provider adds', async () => {
    for (const query of ['', '?state=other', '?state=a&state=b&redirect_uri=https://evil.example&returnTo=//evil']) {
      const landed = await new UserAgent().navigate(`${app.url}/me/public${query}`);
      expect([landed.status, landed.hops.length]).toEqual([200, 1]);
    }
  });

  it('A-100 D-008 ends the session here although the provider is down', async () => {
    const { agent, cookie } = await loggedIn();
    await provider.goDown();
    const out = await agent.fetch(`${app.url}/auth/logout`, { method: 'POST' });
    await provider.comeBack();
    expect(out.status).toBe(200);
    expect(agent.cookie('oauth_session')).toBeUndefined();
    expect(await status(cookie)).toBe(401);
  });

  it('A-072 does not wait for a provider that stalls, not even when its metadata was never loaded', async () => {
    const { cookie } = await loggedIn();
    const other = await startApp({ platform, database: database.url, providers: [oidcOf(provider)] });
    const hold = provider.hold('discovery', 'before');
    const began = performance.now();
    const out = await new UserAgent().request({ url: `${other.url}/auth/logout`, method: 'POST', headers: { cookie } });
    expect(performance.now() - began).toBeLessThan(1000);
    expect([out.status, out.json()]).toEqual([200, { logoutUrl: null }]);
    expect(await status(cookie)).toBe(401);
    hold.release();
    await other.close();
  });

  it('A-101 A-116 lives through everything but a POST from our own pages', async () => {
    const { agent, cookie } = await loggedIn();
    const url = `${app.url}/auth/logout`;
    const evil = 'https://evil.example/page';
    const answers = [
      await agent.navigate(url),
      await agent.request({ url, method: 'HEAD' }),
      await agent.navigate(url, { destination: 'image', from: evil }),
      await agent.request({ url, headers: { 'sec-purpose': 'prefetch', 'sec-fetch-mode': 'navigate' } }),
      await agent.request({ url, method: 'POST', headers: { cookie, 'sec-fetch-site': 'cross-site' } }),
      await agent.request({ url, method: 'POST', headers: { cookie, 'sec-fetch-site': 'same-site' } }),
      await agent.request({ url, method: 'POST', headers: { cookie, origin: 'https://evil.example' } }),
      await agent.request({ url, method: 'POST', headers: { cookie, origin: 'null' } }),
      await agent.request({
        url,
        method: 'POST',
        headers: { cookie, origin: evil, 'content-type': 'text/plain' },
        body: 'x',
      }),
    ];
    expect(answers.map((answer) => answer.status)).toEqual([405, 405, 405, 405, 403, 403, 403, 403, 403]);
    expect(await status(cookie)).toBe(200);
    // No browser, no cookie jar to abuse: neither header, and it goes on.
    expect((await agent.request({ url, method: 'POST', headers: { cookie } })).status).toBe(200);
    expect(await status(cookie)).toBe(401);
  });

  it('D-019 sends Clear-Site-Data when enabled, and revokes the grant that nobody needs any more', async () => {
    const { agent } = await loggedIn();
    const refresh = provider.issued.filter((item) => item.kind === 'refreshToken').at(-1)!.value;
    const out = await agent.fetch(`${app.url}/auth/logout`, { method: 'POST' });
    expect(out.headers.get('clear-site-data')).toBe('"cache", "storage"');
    for (let wait = 0; wait < 200 && provider.isActive(refresh); wait++) await new Promise((r) => setTimeout(r, 50));
    expect(provider.isActive(refresh)).toBe(false);
  });

  it('ends the session also where the database says numbers in fifteen digits', async () => {
    await using own = await createTestDatabase();
    await own.query(`alter database "${new URL(own.url).pathname.slice(1)}" set extra_float_digits = 0`);
    const other = await startApp({ platform, database: own.url, providers: [oidcOf(provider)] });
    for (let round = 0; round < 5; round++) {
      const agent = new UserAgent();
      await agent.navigate(`${other.url}/auth/fake/login?returnTo=/me`);
      const headers = { cookie: `oauth_session=${agent.cookie('oauth_session')}` };
      const statusOf = async (): Promise<number> =>
        (await new UserAgent().fetch(`${other.url}/me`, { headers })).status;
      expect(await statusOf()).toBe(200);
      expect((await agent.fetch(`${other.url}/auth/logout`, { method: 'POST' })).status).toBe(200);
      expect(await statusOf()).toBe(401);
    }
    await other.close();
  });

  it('ends the session also where the application has pg ask for binary values', async () => {
    await using own = await createTestDatabase();
    const other = await startApp({
      platform,
      database: own.url,
      providers: [oidcOf(provider)],
      typeorm: { extra: { binary: true } },
    });
    // The second login of an account ends a session, too, and that in another way.
    for (let round = 0; round < 2; round++) {
      const agent = new UserAgent();
      for (let login = 0; login < 2; login++) await agent.navigate(`${other.url}/auth/fake/login?returnTo=/me`);
      const headers = { cookie: `oauth_session=${agent.cookie('oauth_session')}` };
      const statusOf = async (): Promise<number> =>
        (await new UserAgent().fetch(`${other.url}/me`, { headers })).status;
      expect(await statusOf()).toBe(200);
      expect((await agent.fetch(`${other.url}/auth/sessions`)).json()).toMatchObject([{ current: true }]);
      expect((await agent.fetch(`${other.url}/auth/logout`, { method: 'POST' })).status).toBe(200);
      expect(await statusOf()).toBe(401);
    }
    await other.close();
  });

  it('answers null to somebody without a session, and where the provider has no logout page', async () => {
    const url = '/auth/logout';
    const nobody = await new UserAgent().fetch(app.url + url, { method: 'POST' });
    expect([nobody.status, nobody.json()]).toEqual([200, { logoutUrl: null }]);
    const plain = await FakeProvider.start({ metadata: { end_session_endpoint: undefined } });
    const other = await startApp({ platform, database: database.url, providers: [oidcOf(plain)] });
    const agent = new UserAgent();
    await agent.navigate(`${other.url}/auth/fake/login?returnTo=/me`);
    const out = await agent.navigate(other.url + url, { method: 'POST', form: {}, followRedirects: false });
    expect([out.status, out.headers.get('location')]).toEqual([303, `${other.url}/`]);
    await other.close();
    await plain.close();
  });
});
