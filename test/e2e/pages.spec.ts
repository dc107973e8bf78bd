// The few pages of our own, and who gets a page, a redirect or problem+json.
import { oidcOf, platforms } from '../support/app.js';
import { captureOutput } from '../support/captured-output.js';
import { codeOf, type LoginFixture, startLogin } from '../support/login-fixture.js';

describe.each(platforms)('pages on %s', (platform) => {
  let at: LoginFixture;

  beforeAll(async () => {
    at = await startLogin({
      platform,
      providers: (provider) => [
        oidcOf(provider, { displayName: 'A <b>&"' }),
        oidcOf(provider, { name: 'second', displayName: 'Second' }),
      ],
    });
  });
  afterAll(() => at?.close());
  beforeEach(() => at.provider.reset());
  afterEach(() => at.app.app.useLogger(false));

  it('the chooser names every provider, escaped, and hands returnTo on', async () => {
    const agent = at.agent();
    const page = await agent.navigate(`${at.app.url}/auth/login?returnTo=/x%3Fy%3D1`);
    expect(page.status).toBe(200);
    expect(page.headers.get('content-type')).toBe('text/html; charset=utf-8');
    expect(page.body).toContain('Log in with A &#60;b&#62;&#38;&#34;');
    expect(page.body).toContain('Log in with Second');
    expect(page.body).toContain(`href="${at.app.url}/auth/second/login?returnTo=%2Fx%3Fy%3D1"`);
    const bad = await agent.navigate(`${at.app.url}/auth/login?returnTo=//evil.com/"><script>`);
    expect(bad.body).not.toMatch(/evil|<script/);
  });

  it('the chooser sets no cookie and writes no row', async () => {
    const states = await at.count('oauth_states');
    expect((await at.agent().navigate(`${at.app.url}/auth/login`)).setCookies).toEqual([]);
    expect(await at.count('oauth_states')).toBe(states);
  });

  it('D-022 an error page holds code and correlation id, which the log knows too, and nothing else', async () => {
    using output = captureOutput();
    at.app.app.useLogger(output.logger);

    const agent = at.agent();
    at.provider.fault('code', { kind: 'raw', status: 500, body: 'canary-of-the-provider', contentType: 'text/plain' });
    const answer = await at.login(agent, '?returnTo=/me');
    expect([answer.status, codeOf(answer)]).toEqual([502, 'provider_error']);
    const id = /provider_error · ([0-9a-f-]{36})/.exec(answer.body)![1]!;
    const lines = output.lines.filter(({ from }) => from.startsWith('logger'));
    expect(lines.filter(({ text }) => text.includes(id))).toHaveLength(1);
    expect(lines).toHaveLength(1);
    expect(answer.body).not.toMatch(/canary|stack|at .*\.ts|select |oauth_/i);
    expect(output.text).not.toContain('canary');
    // The way to try again leads back to where the person wanted to go.
    expect(answer.body).toContain(`href="${at.app.url}/auth/fake/login?returnTo=%2Fme"`);
  });

  it('scripts get problem+json with the same code', async () => {
    const answer = await at
      .agent()
      .request({ url: `${at.app.url}/auth/fake/callback?state=x&code=y`, headers: { accept: 'application/json' } });
    expect(answer.headers.get('content-type')).toBe('application/problem+json; charset=utf-8');
    expect(answer.json()).toEqual({
      type: 'about:blank',
      title: expect.any(String),
      status: 400,
      code: 'cookies_blocked',
      correlationId: expect.stringMatching(/^[0-9a-f-]{36}$/),
      provider: 'fake',
      loginUrl: `${at.app.url}/auth/fake/login`,
    });
  });

  it('E-056 fetch gets 401, navigation a redirect; without fetch metadata Accept decides', async () => {
    const { url } = at.app;
    expect((await at.agent().fetch(`${url}/me`)).status).toBe(401);
    expect((await at.agent().navigate(`${url}/me`, { followRedirects: false })).status).toBe(302);
    const ask = async (headers: Record<string, string>) =>
      (await at.agent().request({ url: `${url}/me`, headers })).status;
    expect(await ask({ accept: 'text/html,*/*' })).toBe(302);
    expect(await ask({ accept: 'application/json' })).toBe(401);
    expect(await ask({ accept: '*/*' })).toBe(401);
    expect(await ask({})).toBe(401);
    expect(await ask({ accept: 'text/html', 'x-requested-with': 'XMLHttpRequest' })).toBe(401);
    expect(await ask({ accept: 'text/html', 'sec-fetch-mode': 'cors' })).toBe(401);
  });

  it('GET /auth/session is never redirected, not even for a person', async () => {
    const answer = await at.agent().navigate(`${at.app.url}/auth/session`, { followRedirects: false });
    expect([answer.status, codeOf(answer)]).toEqual([401, 'unauthenticated']);
  });

  it('A-117 GET /auth/session says who is there, and no secret', async () => {
    const agent = at.agent();
    await at.login(agent);
    const answer = await agent.fetch(`${at.app.url}/auth/session`, { headers: { origin: 'https://evil.com' } });
    expect(answer.json()).toMatchObject({
      id: expect.stringMatching(/^[0-9a-f-]{36}$/),
      user: {
        provider: 'fake',
        subject: 'user-1',
        profile: { name: 'User One', email: 'user-1@example.com', emailVerified: true },
      },
      provider: 'fake',
      scope: expect.any(Array),
      expiresAt: expect.any(String),
    });
    for (const { value } of at.provider.issued) expect(answer.body).not.toContain(value);
    expect(answer.body).not.toContain(agent.cookie('oauth_session'));
    expect(answer.headers.get('access-control-allow-origin')).toBeNull();
  });
});

describe.each(platforms)('errorRedirect on %s', (platform) => {
  it('takes people to the page of the application with the code alone, and scripts nowhere', async () => {
    await using at = await startLogin({ platform, oauth: { errorRedirect: '/failed?x=1' } });
    const agent = at.agent();
    for (const path of ['/auth/fake/callback?state=x&code=secret-code', '/auth/nobody/login']) {
      const answer = await agent.navigate(`${at.app.url}${path}`, { followRedirects: false });
      expect(answer.status).toBe(302);
      const url = new URL(answer.headers.get('location')!);
      expect(url.origin + url.pathname).toBe(`${at.app.url}/failed`);
      expect([...url.searchParams.keys()]).toEqual(['x', 'error']);
      expect(url.searchParams.get('error')).toMatch(/^(cookies_blocked|unknown_provider)$/);
    }
    const script = await agent.request({ url: `${at.app.url}/auth/fake/callback?state=x&code=y` });
    expect(script.status).toBe(400);
    const guarded = await agent.fetch(`${at.app.url}/me`);
    expect(guarded.status).toBe(401);
  });
});
