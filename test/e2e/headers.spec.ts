// Headers of every answer of ours, and what safe methods, prefetching and other sites can do: nothing.
import type { INestApplication } from '@nestjs/common';
import type { FastifyInstance } from 'fastify';
import { oidcOf, platforms, type Platform } from '../support/app.js';
import { type LoginFixture, startLogin } from '../support/login-fixture.js';
import { UserAgent, type AgentResponse } from '../support/user-agent.js';

const ORIGIN = 'https://app.example';

/** Middleware of an application: a cookie and a Vary of its own on every answer. */
function withMiddleware(app: INestApplication, platform: Platform): void {
  const set = (_: unknown, res: { setHeader(name: string, value: string): void }, next: () => void): void => {
    res.setHeader('set-cookie', 'theirs=1; Path=/');
    res.setHeader('vary', 'Origin');
    next();
  };
  app.use(set);
  if (platform !== 'fastify') return;
  const fastify: FastifyInstance = app.getHttpAdapter().getInstance();
  fastify.addHook('onRequest', (request, reply, done) => {
    if (request.url.includes('hook')) void reply.header('set-cookie', 'hook=1; Path=/');
    done();
  });
}

describe.each(platforms)('headers on %s', (platform) => {
  let at: LoginFixture;

  beforeAll(async () => {
    at = await startLogin({
      platform,
      baseUrl: ORIGIN,
      configure: (app) => withMiddleware(app, platform),
      providers: (provider) => [oidcOf(provider), oidcOf(provider, { name: 'second' })],
    });
  });
  afterAll(() => at?.close());

  it('D-016 C-014 A-019 A-025 A-026 are safe on every route, errors too, and keep what the application set', async () => {
    const agent = at.agent();
    const url = await at.untilCallback(agent);
    const answers: [string, AgentResponse][] = [
      ['login', await agent.navigate(`${ORIGIN}/auth/fake/login`, { followRedirects: false })],
      ['callback', await at.callback(agent, url)],
      ['session', await agent.fetch(`${ORIGIN}/auth/session`)],
      ['sessions', await agent.fetch(`${ORIGIN}/auth/sessions`)],
      ['chooser', await agent.navigate(`${ORIGIN}/auth/login`)],
      ['error page', await at.callback(agent, `${ORIGIN}/auth/fake/callback?state=x&code=y`)],
      ['unknown provider', await agent.navigate(`${ORIGIN}/auth/nobody/login`)],
      ['wrong method', await agent.navigate(`${ORIGIN}/auth/logout`)],
      [
        'foreign logout',
        await agent.fetch(`${ORIGIN}/auth/logout`, {
          method: 'POST',
          from: 'https://evil.com/',
          credentials: 'include',
        }),
      ],
      ['no session', await at.agent().fetch(`${ORIGIN}/auth/session`)],
      ['guarded, script', await at.agent().fetch(`${ORIGIN}/me`)],
      ['guarded, person', await at.agent().navigate(`${ORIGIN}/me`, { followRedirects: false })],
      ['logout', await agent.fetch(`${ORIGIN}/auth/logout`, { method: 'POST' })],
    ];
    for (const [name, { headers, setCookies, body }] of answers) {
      const found = Object.fromEntries(headers);
      expect([name, found]).toEqual([
        name,
        expect.objectContaining({
          'cache-control': 'no-store',
          'x-content-type-options': 'nosniff',
          'referrer-policy': expect.stringMatching(/^(no-referrer|same-origin)$/),
          'content-security-policy': expect.stringMatching(/^default-src 'none';.*frame-ancestors 'none'$/),
          vary: 'Origin, Cookie',
        }),
      ]);
      expect([name, setCookies.filter((cookie) => cookie.startsWith('theirs='))]).toEqual([name, ['theirs=1; Path=/']]);
      expect(found['access-control-allow-origin']).toBeUndefined();
      expect(body).not.toMatch(/<script|postMessage|opener|(?:src|href)="https?:\/\/(?!app\.example)/);
    }
  });

  it('keeps the cookies of hooks and of middleware beside its own', async () => {
    const answer = await at.agent().navigate(`${ORIGIN}/auth/fake/login?hook`, { followRedirects: false });
    const names = answer.setCookies.map((cookie) => cookie.split('=', 1)[0]).sort();
    expect(names).toEqual(['__Host-oauth_browser', ...(platform === 'fastify' ? ['hook'] : []), 'theirs']);
  });

  it('A-019 after a login the URL holds neither code nor state, and no page ever says them', async () => {
    const agent = at.agent();
    const url = await at.untilCallback(agent, '?returnTo=/me');
    const end = await at.callback(agent, url);
    expect([end.status, end.headers.get('location'), end.body]).toEqual([303, `${ORIGIN}/me`, '']);
    for (const name of ['code', 'state'])
      expect(JSON.stringify(Object.fromEntries(end.headers))).not.toContain(url.searchParams.get(name));
  });

  it('A-043 no token of the provider reaches the browser', async () => {
    const agent = at.agent();
    await at.login(agent);
    await agent.fetch(`${ORIGIN}/me`);
    await agent.fetch(`${ORIGIN}/me/api`);
    await agent.fetch(`${ORIGIN}/auth/session`);
    await agent.fetch(`${ORIGIN}/auth/sessions`);
    const seen = JSON.stringify(agent.history.filter((hop) => hop.url.startsWith(ORIGIN)));
    const secrets = at.provider.issued.filter(({ kind }) => kind !== 'code').map(({ value }) => value);
    expect(secrets.length).toBeGreaterThan(2);
    for (const secret of secrets) expect(seen).not.toContain(secret);
  });

  it('A-022 no access token is in any URL that the provider sees', async () => {
    at.provider.clearRequests();
    const agent = at.agent();
    await at.login(agent);
    await agent.fetch(`${ORIGIN}/me/api`);
    const tokens = at.provider.issued.filter(({ kind }) => kind !== 'code').map(({ value }) => value);
    for (const { rawUrl } of at.provider.requests) for (const token of tokens) expect(rawUrl).not.toContain(token);
  });

  it('A-023 every redirect that answers a POST is 303', async () => {
    const agent = at.agent();
    await at.login(agent);
    for (const path of ['/auth/logout', '/me']) {
      const answer = await agent.navigate(`${ORIGIN}${path}`, { form: {}, followRedirects: false });
      expect([path, answer.status]).toEqual([path, 303]);
    }
  });

  it.each(['HEAD', 'OPTIONS'])('D-017 %s starts, uses and ends nothing', async (method) => {
    const agent = at.agent();
    await at.login(agent);
    const url = await at.untilCallback(agent);
    const before = await at.count('oauth_states');
    for (const path of [
      '/auth/fake/login',
      '/auth/login',
      url.pathname + url.search,
      '/auth/logout',
      '/auth/session',
      '/me',
    ]) {
      const answer = await agent.request({ url: `${ORIGIN}/`, path, method });
      expect(answer.headers.get('location')).toBeNull();
      expect(answer.setCookies.filter((cookie) => cookie.includes('oauth'))).toEqual([]);
    }
    expect(await at.count('oauth_states')).toBe(before);
    expect(await at.status(agent)).toBe(200);
    expect((await at.callback(agent, url)).status).toBe(303);
  });

  it.each([
    { 'sec-purpose': 'prefetch' },
    { 'sec-purpose': 'prefetch;prerender' },
    { purpose: 'prefetch' },
    { 'x-moz': 'prefetch' },
    { 'x-purpose': 'preview' },
  ] as Record<string, string>[])('D-018 prefetching with %j starts and uses nothing', async (headers) => {
    const agent = at.agent();
    const url = await at.untilCallback(agent);
    const before = await at.count('oauth_states');
    for (const target of [`${ORIGIN}/auth/fake/login`, url.href, `${ORIGIN}/auth/login`]) {
      const answer = await agent.navigate(target, { headers, followRedirects: false });
      expect([answer.status, answer.headers.get('location')]).toEqual([400, null]);
    }
    expect(await at.count('oauth_states')).toBe(before);
    expect((await at.callback(agent, url)).status).toBe(303);
  });

  it('A-123 other sites start no login unseen; a link does', async () => {
    const agent = at.agent();
    const before = await at.count('oauth_states');
    const from = 'https://evil.com/';
    const target = `${ORIGIN}/auth/fake/login`;
    const answers = [
      await agent.navigate(target, { from, destination: 'image', followRedirects: false }),
      await agent.navigate(target, { from, destination: 'iframe', followRedirects: false }),
      await agent.fetch(target, { from, credentials: 'include', followRedirects: false }),
      await agent.fetch(target, { followRedirects: false }),
      await agent.navigate(target, { from, form: {}, followRedirects: false }),
    ];
    for (const answer of answers) {
      expect(answer.status).toBeGreaterThanOrEqual(400);
      expect(answer.headers.get('location')).toBeNull();
    }
    expect(await at.count('oauth_states')).toBe(before);
    expect((await agent.navigate(target, { from, followRedirects: false })).status).toBe(302);
  });

  it('C-023 other sites link nothing', async () => {
    const agent = at.agent();
    await at.login(agent);
    const [states, accounts] = [await at.count('oauth_states'), await at.count('oauth_accounts')];
    const target = `${ORIGIN}/auth/second/link`;
    const answers = [
      await agent.navigate(target, { from: 'https://evil.com/', followRedirects: false }),
      await agent.navigate(target, { from: 'https://evil.com/', form: {}, followRedirects: false }),
      await agent.fetch(target, {
        from: 'https://evil.com/',
        method: 'POST',
        credentials: 'include',
        followRedirects: false,
      }),
    ];
    for (const answer of answers) expect([403, 404, 405]).toContain(answer.status);
    expect([await at.count('oauth_states'), await at.count('oauth_accounts')]).toEqual([states, accounts]);
  });

  it('A-101 other sites, links and images end no session', async () => {
    const agent = at.agent();
    await at.login(agent);
    const target = `${ORIGIN}/auth/logout`;
    for (const from of ['https://evil.com/', 'https://sub.app.example/']) {
      await agent.navigate(target, { from, form: {}, followRedirects: false });
      await agent.fetch(target, { from, method: 'POST', credentials: 'include' });
      await agent.navigate(target, { from, destination: 'image', followRedirects: false });
      await agent.navigate(target, { from, followRedirects: false });
    }
    expect(await at.status(agent)).toBe(200);
  });

  it('E-064 the raw answer of a login is what it seems', async () => {
    const answer = await new UserAgent().request({
      url: `${at.app.address}/auth/fake/login?returnTo=%2Fok%0d%0aX-Evil:1`,
    });
    expect(answer.status).toBe(302);
    expect(answer.headers.get('x-evil')).toBeNull();
  });
});
