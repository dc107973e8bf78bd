// Cookies and requests between sites, as a real browser handles them: the application on https, a sibling domain that
// plants cookies, and another site that tries to act for the user.
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { FakeProvider } from '../../src/testing/index.js';
import { freePort, oidcOf, type RunningApp, startApp } from '../support/app.js';
import { launchChromium } from '../support/chromium.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { describeInBrowser } from '../support/describe-in-browser.js';
import { startTlsFront, type TlsFront } from '../support/tls-front.js';

const [APP, SIBLING, STRANGER] = ['app.example', 'sub.app.example', 'evil.test'] as const;

describeInBrowser('an application on https, among other sites', () => {
  let database: TestDatabase;
  let provider: FakeProvider;
  let front: TlsFront;
  let app: RunningApp;
  let browser: Browser;
  let context: BrowserContext;

  beforeAll(async () => {
    const port = await freePort();
    [database, provider, front] = await Promise.all([
      createTestDatabase(),
      FakeProvider.start(),
      startTlsFront([APP, SIBLING, STRANGER], () => ({ host: APP, address: `http://127.0.0.1:${port}` })),
    ]);
    app = await startApp({
      database: database.url,
      port,
      baseUrl: at(APP),
      providers: [oidcOf(provider), oidcOf(provider, { name: 'posted', responseMode: 'form_post' })],
    });
    const names = [APP, SIBLING, STRANGER].map((host) => `MAP ${host} 127.0.0.1`).join(',');
    browser = (await launchChromium({ args: [`--host-resolver-rules=${names}`] }))!;
  });
  afterAll(async () => {
    await browser?.close();
    await app?.close();
    await front?.[Symbol.asyncDispose]();
    await provider?.close();
    await database?.drop();
  });
  beforeEach(async () => {
    context = await browser.newContext({ ignoreHTTPSErrors: true });
    front.pages.clear();
  });
  afterEach(() => context.close());

  it('D-013 sets cookies that only this host gets, and no script reads', async () => {
    const page = await loggedIn();
    const cookies = (await context.cookies()).filter(({ name }) => name.includes('oauth'));
    expect(cookies.map(({ name }) => name).sort()).toEqual(['__Host-oauth_browser', '__Host-oauth_session']);
    for (const cookie of cookies) {
      expect(cookie).toMatchObject({ domain: APP, path: '/', secure: true, httpOnly: true, sameSite: 'Lax' });
    }
    expect(await page.evaluate('document.cookie')).toBe('');
  });

  it('C-026 is not disturbed by cookies that a sibling domain plants, before the login or after', async () => {
    const names = [
      'oauth_session',
      'oauth_browser',
      '__Host-oauth_session',
      '__Host-oauth_browser',
      '__host-oauth_session',
      '__HOST-oauth_browser',
    ];
    const planted = ['A'.repeat(43), 'evil'].flatMap((value) =>
      names.flatMap((name) => [
        `${name}=${value}; Domain=${APP}; Path=/; Secure`,
        `${name}=${value}; Domain=${APP}; Path=/auth; Secure`,
        // Without a name: some browsers once sent the value as if it were the name.
        `=${name}=${value}; Domain=${APP}; Path=/; Secure`,
      ]),
    );
    front.pages.set(`${SIBLING}/plant`, {
      setCookies: planted,
      html: `<script>for (const cookie of ${JSON.stringify(planted)}) document.cookie = cookie</script>planted`,
    });
    const plant = async (page: Page) => {
      await page.goto(`${at(SIBLING)}/plant`);
      // Some of them do arrive at the application: otherwise this test would show nothing.
      const sent = (await context.cookies(`${at(APP)}/auth/session`)).filter(({ domain }) => domain === `.${APP}`);
      expect(sent.length).toBeGreaterThan(0);
      expect(sent.filter(({ name }) => name.startsWith('__Host-'))).toEqual([]);
    };
    const page = await context.newPage();
    await plant(page);
    await page.goto(`${at(APP)}/auth/fake/login?returnTo=/me`);
    expect(page.url()).toBe(`${at(APP)}/me`);
    const { id } = await sessionOf(page);
    await plant(page);
    await page.goto(`${at(APP)}/me`);
    expect(page.url()).toBe(`${at(APP)}/me`);
    expect((await sessionOf(page)).id).toBe(id);
    await page.goto(`${at(APP)}/auth/fake/login?returnTo=/me`);
    expect(page.url()).toBe(`${at(APP)}/me`);
    expect((await sessionOf(page)).id).not.toBe(id);
  });

  it('C-026 takes no cookie for ours whose name begins with a no-break space, in which browsers see no prefix', async () => {
    const names = ['__Host-oauth_session', '__Host-oauth_browser'];
    front.pages.set(`${SIBLING}/plant`, {
      // As a single byte of the header, which browsers keep and send as it is.
      setCookies: names.map((name) => `\u00a0${name}=${'A'.repeat(43)}; Domain=${APP}; Path=/; Secure`),
      html: 'planted',
    });
    const page = await context.newPage();
    await page.goto(`${at(SIBLING)}/plant`);
    expect(await context.cookies(at(APP))).toHaveLength(2);
    await page.goto(`${at(APP)}/auth/fake/login?returnTo=/me`);
    expect(page.url()).toBe(`${at(APP)}/me`);
    const browser = (await context.cookies(at(APP))).filter(({ domain }) => domain === APP);
    expect(browser.map(({ name }) => name).sort()).toEqual(['__Host-oauth_browser', '__Host-oauth_session']);
  });

  it.each([SIBLING, STRANGER])('A-101 A-116 lives on when %s sends logout requests of every kind', async (host) => {
    const page = await loggedIn();
    const { id } = await sessionOf(page);
    front.pages.set(`${host}/attack`, {
      html: `<img src="${at(APP)}/auth/logout"><form id="form" method="post" action="${at(APP)}/auth/logout"></form>
<script>
  const all = { mode: 'no-cors', credentials: 'include' };
  window.done = Promise.allSettled([
    fetch('${at(APP)}/auth/logout', { ...all, method: 'POST' }),
    fetch('${at(APP)}/auth/logout', { ...all, method: 'POST', body: 'x', headers: { 'content-type': 'text/plain' } }),
    fetch('${at(APP)}/auth/sessions/${id}', { method: 'DELETE', credentials: 'include' }),
    Promise.resolve(navigator.sendBeacon('${at(APP)}/auth/logout', new URLSearchParams({ a: 'b' }))),
  ]);
</script>`,
    });
    const other = await context.newPage();
    await other.goto(`${at(host)}/attack`);
    await other.evaluate('window.done');
    const answered = other.waitForResponse(`${at(APP)}/auth/logout`);
    await other.evaluate('document.getElementById("form").submit()');
    expect((await answered).status()).toBe(403);
    await page.goto(`${at(APP)}/me`);
    expect((await sessionOf(page)).id).toBe(id);
  });

  it('D-014 finishes a login whose answer is posted from another site, and the cookies stay Lax', async () => {
    const page = await context.newPage();
    const posts: (string | undefined)[] = [];
    page.on('request', (request) => {
      if (request.method() !== 'POST' || !request.url().endsWith('/auth/posted/callback')) return;
      posts.push(request.headers().origin);
    });
    await page.goto(`${at(APP)}/auth/posted/login?returnTo=/me`);
    await page.waitForURL(`${at(APP)}/me`);
    expect(JSON.parse((await page.textContent('body'))!)).toMatchObject({ user: { provider: 'posted' } });
    // The provider's, without the cookie; then our own page's, with it.
    expect(posts.length).toBe(2);
    expect(posts[0]).not.toBe(at(APP));
    expect(posts[1]).toBe(at(APP));
    for (const cookie of (await context.cookies()).filter(({ name }) => name.includes('oauth')))
      expect(cookie.sameSite).toBe('Lax');
    expect(page.url()).not.toContain('code');
  });

  it('A-123 begins no login for an image, a frame, a script or a fetch of another site', async () => {
    const pending = async () =>
      (await database.query<{ count: string }>('select count(*) from oauth_states'))[0]!.count;
    const before = await pending();
    const login = `${at(APP)}/auth/fake/login`;
    front.pages.set(`${STRANGER}/embed`, {
      html: `<img src="${login}?a"><iframe src="${login}?b"></iframe><script src="${login}?c"></script><link rel="stylesheet" href="${login}?d">
<script>window.done = fetch('${login}?e', { mode: 'no-cors', credentials: 'include' }).catch(() => undefined)</script>`,
    });
    const page = await context.newPage();
    await page.goto(`${at(STRANGER)}/embed`, { waitUntil: 'networkidle' });
    await page.evaluate('window.done');
    expect(await pending()).toBe(before);
    // A link that the person follows is another matter.
    await page.goto(`${login}?returnTo=/me`);
    expect(page.url()).toBe(`${at(APP)}/me`);
  });

  function at(host: string): string {
    return `https://${host}:${front.port}`;
  }

  async function loggedIn(): Promise<Page> {
    const page = await context.newPage();
    await page.goto(`${at(APP)}/auth/fake/login?returnTo=/me`);
    expect(page.url()).toBe(`${at(APP)}/me`);
    return page;
  }

  async function sessionOf(page: Page): Promise<{ id: string }> {
    return page.evaluate<{ id: string }>(`fetch('/auth/session').then((answer) => answer.json())`);
  }
});
