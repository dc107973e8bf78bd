import { platforms, type Platform } from '../support/app.js';
import { launchChromium } from '../support/chromium.js';
import { describeInBrowser } from '../support/describe-in-browser.js';
import { LoginBench } from '../support/login-bench.js';
import { UserAgent } from '../support/user-agent.js';
import { ExpressAdapter } from '@nestjs/platform-express';
import { FastifyAdapter } from '@nestjs/platform-fastify';

const FORM_POST = { responseMode: 'form_post' } as const;

/** The provider's self-posting page, as a cross-site one would be: its form, sent from another site. */
async function posted(bench: LoginBench, agent: UserAgent): Promise<{ action: string; fields: [string, string][] }> {
  const page = await agent.navigate(`${bench.app.url}/auth/fake/login?returnTo=/me`);
  const [form] = page.forms;
  return { action: form!.action, fields: form!.fields.map(([name, value]) => [name, value]) };
}

describe.each(platforms)('form_post on %s', (platform: Platform) => {
  let bench: LoginBench;
  beforeAll(async () => {
    bench = await LoginBench.start({ client: FORM_POST, app: { platform } });
  });
  beforeEach(() => bench.provider.reset());
  afterAll(() => bench?.[Symbol.asyncDispose]());

  it('D-014 finishes a cross-site POST by posting the same fields once more from our own page', async () => {
    const agent = new UserAgent();
    const { action, fields } = await posted(bench, agent);
    const relay = await agent.navigate(action, { form: fields, from: 'https://idp.example/' });
    expect(relay.status).toBe(200);
    expect(bench.provider.requestsTo('code')).toHaveLength(0);
    const policy = relay.headers.get('content-security-policy')!;
    expect(policy).toMatch(
      /default-src 'none'; .*script-src 'sha256-[^']+'; .*form-action 'self'; frame-ancestors 'none'/,
    );
    expect(relay.headers.get('referrer-policy')).toBe('same-origin');
    expect(relay.headers.get('cache-control')).toBe('no-store');
    expect(relay.setCookies).toEqual([]);
    const [form] = relay.forms;
    expect(form!.action).toBe(`${bench.app.url}/auth/fake/callback`);
    expect(form!.fields.map(([name]) => name).sort()).toEqual(['code', 'iss', 'relayed', 'state']);
    const done = await agent.submitForm(relay);
    expect(done.hops.map(({ status }) => status)).toEqual([303, 200]);
    expect(done.url).toBe(`${bench.app.url}/me`);
    expect(done.hops[0]!.setCookies.every((cookie) => cookie.includes('SameSite=Lax'))).toBe(true);
    expect(agent.history.some(({ url }) => url.includes('code='))).toBe(false);
  });

  it('D-014 refuses the answer of another browser', async () => {
    const { action, fields } = await posted(bench, new UserAgent());
    const victim = new UserAgent();
    await posted(bench, victim);
    const relay = await victim.navigate(action, { form: fields, from: 'https://evil.example/' });
    const refused = await victim.submitForm(relay);
    expect(refused.status).toBe(400);
    expect((await victim.fetch(`${bench.app.url}/me`)).status).toBe(401);
    expect(bench.provider.requestsTo('code')).toHaveLength(0);
  });

  it('E-054 happens once where cookies are blocked', async () => {
    const { action, fields } = await posted(bench, new UserAgent());
    const blocked = new UserAgent();
    const relay = await blocked.navigate(action, { form: fields, from: 'https://idp.example/' });
    const end = await blocked.submitForm(relay);
    expect(end.status).toBe(400);
    expect(end.forms).toHaveLength(0);
    expect(end.body).toContain('cookies_blocked');
  });

  it('carries a known list of fields, escaped', async () => {
    const agent = new UserAgent();
    const relay = await agent.navigate(`${bench.app.url}/auth/fake/callback`, {
      form: { state: '"><script>alert(1)</script>', code: 'c', action: 'https://evil.example', evil: 'x' },
      from: 'https://idp.example/',
    });
    expect(relay.body).not.toContain('<script>alert');
    expect(relay.body).not.toContain('evil');
  });

  it('A-020 C-013 E-063 wants the parameters in the body alone, and only by POST', async () => {
    const agent = new UserAgent();
    const { action, fields } = await posted(bench, agent);
    const query = new URLSearchParams(fields).toString();
    expect((await agent.navigate(`${action}?${query}`)).status).toBe(405);
    expect((await agent.navigate(`${action}?${query}`, { form: fields })).status).toBe(400);
    expect((await agent.navigate(action, { form: [...fields, ['code', 'again']] })).status).toBe(400);
    expect(
      (
        await agent.request({
          url: action,
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: '{}',
        })
      ).status,
    ).toBe(400);
    // Nothing of this used the login up.
    expect((await agent.navigate(action, { form: fields })).url).toBe(`${bench.app.url}/me`);
  });

  it('tells of an error by POST as well', async () => {
    bench.provider.fault('authorize', { kind: 'oauthError', error: 'access_denied' });
    const agent = new UserAgent();
    const { action, fields } = await posted(bench, agent);
    const page = await agent.navigate(action, { form: fields });
    expect([page.status, page.body.includes('access_denied')]).toEqual([403, true]);
  });
});

it.each([
  ['express', () => new ExpressAdapter()],
  ['fastify', () => new FastifyAdapter()],
] as const)('reads posted callbacks on %s where the application parses no bodies', async (_name, adapter) => {
  await using bench = await LoginBench.start({
    client: FORM_POST,
    app: { adapter: adapter(), nest: { bodyParser: false } },
  });
  const agent = new UserAgent();
  const { action, fields } = await posted(bench, agent);
  const relay = await agent.navigate(action, { form: fields, from: 'https://idp.example/' });
  expect((await agent.submitForm(relay)).url).toBe(`${bench.app.url}/me`);
});

describeInBrowser('form_post in a real browser', () => {
  it('D-014 A-021 logs in, with Lax cookies, from another site, and leaves no code in the address bar', async () => {
    await using bench = await LoginBench.start({ client: FORM_POST, provider: { host: '127.0.0.1' } });
    const browser = (await launchChromium())!;
    try {
      const page = await browser.newPage();
      await page.goto(`${bench.app.url}/auth/fake/login?returnTo=/me`);
      await page.waitForURL(`${bench.app.url}/me`);
      expect(await page.textContent('body')).toContain('user-1');
      const posts = bench.provider.requestsTo('code');
      expect(posts).toHaveLength(1);
      for (const cookie of await page.context().cookies()) expect(cookie.sameSite).toBe('Lax');
    } finally {
      await browser.close();
    }
  });
});
