// What a newcomer does with the demo, in a real Chromium.
import type { Browser, BrowserContext, CDPSession, Page } from 'playwright-core';
import { launchChromium } from '../support/chromium.js';
import { describeInBrowser } from '../support/describe-in-browser.js';
import { type RunningDemo, startDemo } from '../support/demo.js';

/** Lifetime of access tokens, seconds: they are renewed when half of it is over. */
const LIFETIME = 6;
const FINGERPRINT = /^[0-9a-f]{10}$/;

describeInBrowser('the demo in a browser', () => {
  let demo: RunningDemo;
  let browser: Browser;
  let context: BrowserContext;
  let problems: string[];

  beforeAll(async () => {
    [demo, browser] = await Promise.all([
      startDemo({ accessTokenTtl: LIFETIME }),
      launchChromium() as Promise<Browser>,
    ]);
  });
  afterAll(async () => {
    await browser?.close();
    await demo?.[Symbol.asyncDispose]();
  });
  beforeEach(async () => {
    context = await browser.newContext();
    problems = [];
    context.on('weberror', (error) => problems.push(String(error.error())));
    context.on('console', (message) => message.type() === 'error' && problems.push(message.text()));
  });
  afterEach(async () => {
    await context.close();
  });

  it('A-021 logs in with two clicks, and neither address bar nor history holds code or state', async () => {
    const page = await context.newPage();
    const visited: string[] = [];
    page.on('request', (request) => request.isNavigationRequest() && visited.push(request.url()));
    await logIn(page, 'alice');
    await page.getByText('"calls": 1').waitFor();
    expect(new URL(page.url()).pathname).toBe('/dashboard');
    expect(await page.textContent('h1')).toBe('Hello, Alice Ansel');
    expect(await page.textContent('main')).toContain('alice@example.com (verified)');

    // The callback was visited, with both; it left nothing behind.
    const callback = visited.find((url) => url.startsWith(`${demo.url}/auth/demo/callback?`))!;
    const { code, state } = Object.fromEntries(new URL(callback).searchParams);
    expect([code!.length, state!.length]).toEqual([expect.any(Number), 43]);
    const devtools: CDPSession = await context.newCDPSession(page);
    const { entries } = await devtools.send('Page.getNavigationHistory');
    expect(entries.map(({ url }) => new URL(url).pathname)).toContain('/dashboard');
    for (const secret of [code!, state!]) {
      expect(page.url()).not.toContain(secret);
      expect(JSON.stringify(entries)).not.toContain(secret);
      expect(await page.content()).not.toContain(secret);
    }
    expect(problems).toEqual([]);
    await page.goBack();
    expect(page.url()).not.toMatch(/callback|code=|state=/);
  });

  it('A-043 shows the access token being renewed while the page is open, without the token', async () => {
    const page = await context.newPage();
    const bodies: Promise<string>[] = [];
    page.on('response', (response) => {
      if (response.url().startsWith(`${demo.url}/api`)) bodies.push(response.text().catch(() => ''));
    });
    await logIn(page, 'alice');
    const fingerprint = page.locator('#fingerprint');
    await fingerprint.filter({ hasText: FINGERPRINT }).waitFor();
    const first = (await fingerprint.textContent())!;
    const refreshesBefore = demo.identity.requestsTo('/token').filter(isRefresh).length;
    await fingerprint.filter({ hasNotText: first }).waitFor({ timeout: LIFETIME * 1000 });
    expect(demo.identity.requestsTo('/token').filter(isRefresh).length).toBe(refreshesBefore + 1);
    await page.getByText('Renewed just now').waitFor();
    await page
      .locator('#seconds')
      .filter({ hasText: /^[456] s left$/ })
      .waitFor();

    const granted = demo.identity.requests.flatMap(({ headers }) => headers.authorization?.split(' ')[1] ?? []);
    expect(granted.length).toBeGreaterThan(0);
    const shown = (await Promise.all(bodies)).join('\n') + (await page.content());
    for (const token of granted) expect(shown).not.toContain(token);
    expect(problems).toEqual([]);
  });

  it('E-051 lets two tabs log in at once, each in its own attempt', async () => {
    const [one, two] = [await context.newPage(), await context.newPage()];
    // The browser cookie is made by the first visit of the two; afterwards both tabs are on Demo Identity's page.
    for (const page of [one, two]) {
      await page.goto(`${demo.url}/`);
      await page.getByRole('link', { name: 'Log in with Demo Identity' }).click();
      await page.getByLabel('Username').waitFor();
    }
    for (const page of [one, two]) {
      await page.getByLabel('Username').fill('bob');
      await page.getByRole('button', { name: 'Sign in' }).click();
      await page.waitForURL(`${demo.url}/dashboard`);
      expect(await page.textContent('h1')).toBe('Hello, Bob Berg');
    }
    const names = (await context.cookies(demo.url)).map(({ name }) => name).filter((name) => name.startsWith('oauth'));
    expect(names.sort()).toEqual(['oauth_browser', 'oauth_session']);
    // The second login took the place of the first: one session of this browser is left, and both tabs use it.
    expect(
      await one.evaluate(`fetch('/auth/sessions').then((answer) => answer.json()).then((list) => list.length)`),
    ).toBe(1);
  });

  it('logs out in one tab, and the other one notices', async () => {
    const [one, two] = [await context.newPage(), await context.newPage()];
    await logIn(one, 'alice');
    await two.goto(`${demo.url}/dashboard`);
    await two.locator('#fingerprint').filter({ hasText: FINGERPRINT }).waitFor();
    await one.getByRole('button', { name: 'Log out' }).click();
    await leaveIdentity(one);
    // The provider brings a `state` back from there, which means nothing.
    await one.waitForURL(({ origin, pathname }) => origin === demo.url && pathname === '/');
    await one.getByRole('status').filter({ hasText: 'You are logged out.' }).waitFor();
    expect(await one.getByRole('link', { name: 'Log in with Demo Identity' }).isVisible()).toBe(true);
    await two.bringToFront();
    await two.waitForURL(`${demo.url}/`);
    expect(await two.getByRole('status').count()).toBe(0);
    expect((await context.request.get(`${demo.url}/api/token`)).status()).toBe(401);
    expect((await context.cookies(demo.url)).some(({ name }) => name === 'oauth_session')).toBe(false);
  });

  it('D-012 ends another session from the list, and that browser is out', async () => {
    const other = await browser.newContext();
    const elsewhere = await other.newPage();
    await logIn(elsewhere, 'bob');
    const page = await context.newPage();
    await logIn(page, 'bob');
    const lines = page.locator('#sessions li');
    await lines.first().waitFor();
    const before = await lines.count();
    // The latest one but this.
    await page.getByRole('button', { name: 'End' }).first().click();
    await lines.nth(before - 1).waitFor({ state: 'detached' });
    await elsewhere.bringToFront();
    await elsewhere.waitForURL(`${demo.url}/`);
    await other.close();
  });

  it('says so when the provider has forgotten the grant, and mends it by a login', async () => {
    const page = await context.newPage();
    await logIn(page, 'alice');
    demo.identity.revoke({ sub: 'alice-1' });
    const notice = page.getByRole('status').getByRole('link', { name: 'Log in again' });
    await notice.waitFor({ timeout: LIFETIME * 2000 });
    await notice.click();
    await page.waitForURL((url) => url.origin === demo.url && !url.pathname.startsWith('/auth'));
    await page.goto(`${demo.url}/dashboard`);
    await page.getByText(/"calls": \d+/).waitFor();
  });

  async function logIn(page: Page, username: string): Promise<void> {
    await page.goto(`${demo.url}/`);
    await page.getByRole('link', { name: 'Log in with Demo Identity' }).click();
    await page.getByLabel('Username').fill(username);
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.waitForURL(`${demo.url}/dashboard`);
  }

  /** Logging out may pass by the provider, which asks whether to sign out there, too. */
  async function leaveIdentity(page: Page): Promise<void> {
    await page.waitForURL((url) => url.origin === demo.identity.issuer || url.pathname === '/');
    if (new URL(page.url()).origin === demo.identity.issuer)
      await page.getByRole('button', { name: 'Sign out' }).click();
  }
});

function isRefresh({ body }: { body: Record<string, string> }): boolean {
  return body.grant_type === 'refresh_token';
}
