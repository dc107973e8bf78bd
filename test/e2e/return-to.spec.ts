// The returnTo corpus through every parameter that ends in a Location, on https as in production.
import { platforms } from '../support/app.js';
import { type LoginFixture, startLogin } from '../support/login-fixture.js';

const ORIGIN = 'https://app.example';

/** Must end at the default. */
const DEFAULT: readonly (readonly [id: string, given: readonly string[]])[] = [
  ['E-073', ['//evil.com', '///evil.com', '////evil.com/%2f..']],
  ['E-074', ['https://evil.com', 'http:evil.com', 'https:/evil.com', 'HTTPS://evil.com']],
  ['E-075', ['/\\evil.com', '\\\\evil.com', '\\/evil.com', '/x\\evil']],
  ['E-076', ['/\t/evil.com', '/\n/evil.com', '/\r/evil.com']],
  ['E-077', ['\t//evil.com', ' //evil.com', '\u0000//evil.com']],
  ['E-078', ['/\v/evil.com']],
  ['E-079', ['javascript:alert(1)', 'java\tscript:alert(1)']],
  ['E-080', ['data:text/html,<script>', 'file:///etc/passwd', 'blob:https://evil.com/x', 'myapp://cb', 'ftp://evil.com']],
  ['E-081', ['https://app.example@evil.com', 'https://app.example\\@evil.com', 'https://allowed.example@evil.com']],
  ['E-082', ['https://evil.com#@app.example', 'https://app.example%40evil.com', 'https://evil.com?https://allowed.example']],
  ['E-083', ['https://app.example.evil.com', 'https://evilapp.example', 'http://app.example/', 'https://allowed.example.evil.com', 'https://evilallowed.example', 'http://allowed.example/', 'https://allowed.example:444/']],
  ['E-084', ['@evil.com', '.evil.com', ':443@evil.com']],
  ['E-086', ['/%2f/evil.com', '/%5cevil.com', '/%2F/evil.com', '/x/%5Cevil.com']],
  ['E-088', ['/ok\r\nSet-Cookie:a=b']],
  ['E-089', ['//evil。com', '//ｅｖｉｌ.com', 'https://ａllowed.example/']],
  ['E-090', ['https://app.example⁄.evil.com', 'https://allowed.example⁄.evil.com']],
  ['E-091', ['//[::1]', '//2130706433', 'https://[::1]/', 'https://2130706433/']],
  ['E-092', ['/auth/logout', '/auth/login?returnTo=/auth/login', '/auth', '/AUTH/logout', '/%61uth/logout', '/x/../auth/logout', '/auth;x/logout', '/./auth/logout', '/auth/fake/login']],
  ['E-093', [`/${'a'.repeat(8192)}`, '', '?', 'ok', './ok', '../ok']],
]; // prettier-ignore

/** Default, or a URL of ours whose path does not begin with two slashes. */
const OURS: readonly (readonly [id: string, given: readonly string[]])[] = [
  ['E-078', ['/\u200b/evil.com']],
  ['E-085', ['/.//evil.com', '/x/..//evil.com', '/%2e//evil.com', '/%2e%2e//evil.com', '/.%2e//evil.com']],
  ['E-087', ['/%252f%252fevil.com', '/%255cevil.com']],
  ['E-088', ['/%0d%0aLocation:%20https://evil.com']],
  ['E-090', ['/／evil.com']],
  ['C-005', ['/%', '/%E0%A4%A', '/%FF%FE', '/%00', '/?x=%E0%A4%A']],
];

const UNCHANGED = ['/', '/ok', '/ok?x=//evil.com', '/ok?u=https://evil.com', '/ok#//evil.com', '/a/b?c=d&e=%2F', '/@user', '/authors', '/auth-x']; // prettier-ignore

describe.each(platforms)('returnTo on %s', (platform) => {
  let at: LoginFixture;

  beforeAll(async () => {
    at = await startLogin({
      platform,
      baseUrl: ORIGIN,
      oauth: { returnToOrigins: ['https://allowed.example'], login: { maxPendingPerBrowser: 1000 } },
    });
  });
  afterAll(() => at?.close());

  /** Where a login lands: the browser goes through chooser, login, provider and callback. */
  async function landing(query: string, route = 'fake/login'): Promise<string> {
    const agent = at.agent();
    let answer = await agent.navigate(`${ORIGIN}/auth/${route}?${query}`, { followRedirects: false });
    if (route === 'login') {
      expect(answer.status).toBe(302);
      const next = new URL(answer.headers.get('location')!);
      expect(next.origin + next.pathname).toBe(`${ORIGIN}/auth/fake/login`);
      answer = await agent.navigate(next.href, { followRedirects: false });
    }
    expect(answer.status).toBe(302);
    const authorize = new URL(answer.headers.get('location')!);
    expect(authorize.origin).toBe(at.provider.url);
    const end = await at.callback(agent, await at.consent(authorize));
    expect(end.status).toBe(303);
    return end.headers.get('location')!;
  }
  const parameter = (value: string) => `returnTo=${encodeURIComponent(value)}`;

  describe.each(['fake/login', 'login'])('through /auth/%s', (route) => {
    it.each(DEFAULT)('A-001 %s lands at the default', async (_, given) => {
      for (const value of given) expect([value, await landing(parameter(value), route)]).toEqual([value, `${ORIGIN}/`]);
    });

    it.each(OURS)('A-001 %s stays with us', async (_, given) => {
      for (const value of given) {
        const url = new URL(await landing(parameter(value), route));
        expect(url.origin).toBe(ORIGIN);
        expect(url.pathname).not.toMatch(/^\/\//);
      }
    });

    it('E-095 passes good values unchanged, as absolute URLs', async () => {
      for (const value of UNCHANGED) expect(await landing(parameter(value), route)).toBe(ORIGIN + value);
    });

    it('E-093 takes a repeated or bracketed parameter for none', async () => {
      for (const query of [
        'returnTo=/a&returnTo=//evil.com',
        'returnTo=/a&returnTo=/a',
        'returnTo[]=/a',
        'returnTo[x]=/a',
      ])
        expect(await landing(query, route)).toBe(`${ORIGIN}/`);
    });

    it('A-001 goes to another origin only through the explicit list', async () => {
      for (const value of ['https://allowed.example/x?y=1', 'https://allowed.example'])
        expect(await landing(parameter(value), route)).toBe(new URL(value).href);
    });
  });

  it('A-001 takes raw bytes and the spellings that a form has', async () => {
    for (const query of [
      'returnTo=//evil.com',
      'returnTo=%2F%2Fevil.com',
      'returnTo=+//evil.com',
      'returnTo=%FF',
      'returnTo=%00',
      'returnTo=%',
      'returnTo',
    ])
      expect(new URL(await landing(query)).origin).toBe(ORIGIN);
  });

  it.each([
    ['edited by hand', `return_to = 'https://evil.com'`],
    ['emptied', `return_to = ''`],
    [
      'copied from another row',
      `return_to = (select return_to from oauth_states o where o.consumed_at is not null limit 1)`,
    ],
  ])('E-094 a stored row that was %s ends at the default', async (_, change) => {
    await at.login(at.agent(), '?returnTo=/other');
    const agent = at.agent();
    const url = await at.untilCallback(agent, '?returnTo=/ok');
    await at.database.query(`update oauth_states set ${change} where consumed_at is null`);
    const answer = await at.callback(agent, url);
    expect([answer.status, answer.headers.get('location')]).toEqual([303, `${ORIGIN}/`]);
    const again = await at.callback(agent, url);
    expect([again.status, again.headers.get('location')]).toEqual([303, `${ORIGIN}/`]);
  });

  it.each([
    '//evil.com/',
    '/\\evil',
    '//evil.com/%2f..',
    '/%5cevil',
    'http://evil/',
    'http://evil/me',
    '//evil.com@x/me',
    '/me//evil.com',
  ])('C-012 a guarded navigation to the target %j ends on our origin', async (path) => {
    const agent = at.agent();
    const headers = { accept: 'text/html', 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document' };
    const answer = await agent.request({ url: `${ORIGIN}/me`, path, headers });
    const location = answer.headers.get('location');
    if (location === null) return expect(answer.status).toBeGreaterThanOrEqual(400);
    expect(new URL(location, ORIGIN).origin).toBe(ORIGIN);
    const end = new URL(await landing(new URL(location, ORIGIN).search.slice(1)));
    expect(end.origin).toBe(ORIGIN);
    expect(end.pathname).not.toMatch(/^\/\//);
  });

  it('C-012 a guarded navigation comes back to its page; one that is too long, or changes something, to the start', async () => {
    const agent = at.agent();
    expect((await agent.navigate(`${ORIGIN}/me?x=1&y=%2F`)).url).toBe(`${ORIGIN}/me?x=1&y=%2F`);
    const long = await at.agent().navigate(`${ORIGIN}/me?x=${'a'.repeat(6000)}`, { followRedirects: false });
    expect(long.headers.get('location')).toBe(`${ORIGIN}/auth/login?returnTo=%2F`);
    const form = await at.agent().navigate(`${ORIGIN}/me`, { form: { a: 'b' }, followRedirects: false });
    expect([form.status, form.headers.get('location')]).toEqual([303, `${ORIGIN}/auth/login?returnTo=%2F`]);
  });

  it('A-001 logout goes where the configuration says, whatever the request asks', async () => {
    for (const name of ['returnTo', 'post_logout_redirect_uri', 'redirect', 'next', 'logoutUrl']) {
      const agent = at.agent();
      await at.login(agent);
      const answer = await agent.navigate(`${ORIGIN}/auth/logout?${name}=//evil.com`, {
        form: { [name]: 'https://evil.com' },
        followRedirects: false,
      });
      expect(answer.status).toBe(303);
      expect(answer.headers.get('location')).not.toContain('evil');
    }
  });

  it('A-024 A-031 Host and forwarded headers decide nothing', async () => {
    const headers = {
      host: 'evil.com',
      'x-forwarded-host': 'evil.com',
      'x-forwarded-proto': 'http',
      'x-forwarded-port': '81',
      'x-forwarded-uri': '/auth/other/login',
      forwarded: 'host=evil.com;proto=http',
      'x-original-url': '/me/public',
      'x-rewrite-url': '/me/public',
    };
    const agent = at.agent();
    const start = await agent.navigate(`${ORIGIN}/auth/fake/login?returnTo=/ok`, { followRedirects: false, headers });
    const authorize = new URL(start.headers.get('location')!);
    expect(authorize.searchParams.get('redirect_uri')).toBe(`${ORIGIN}/auth/fake/callback`);
    expect(start.setCookies[0]).toMatch(/^__Host-oauth_browser=.*; Secure$/);
    const url = await at.consent(authorize);
    const end = await agent.navigate(url.href, { followRedirects: false, headers });
    expect(end.headers.get('location')).toBe(`${ORIGIN}/ok`);
    const exchange = at.provider.requestsTo('code').at(-1)!;
    expect([exchange.method, exchange.form.get('redirect_uri')]).toEqual(['POST', `${ORIGIN}/auth/fake/callback`]);
    expect((await at.agent().fetch(`${ORIGIN}/me`, { headers })).status).toBe(401);
    const guarded = await at.agent().navigate(`${ORIGIN}/me`, { headers, followRedirects: false });
    expect(guarded.headers.get('location')).toBe(`${ORIGIN}/auth/login?returnTo=%2Fme`);
  });
});
