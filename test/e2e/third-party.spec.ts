// Logins begun by a third party (OIDC Core §4).
import { oidc } from '../../src/index.js';
import { platforms } from '../support/app.js';
import { type LoginFixture, startLogin } from '../support/login-fixture.js';

describe.each(platforms)('a login begun by a third party, on %s', (platform) => {
  let at: LoginFixture;
  let off: LoginFixture;

  beforeAll(async () => {
    [at, off] = await Promise.all([
      startLogin({
        platform,
        oauth: { login: { thirdPartyStart: true } },
        providers: ({ issuer }) => [
          oidc({ name: 'fake', issuer, clientId: 'client', clientSecret: 'secret', loginParams: ['login_hint'] }),
        ],
      }),
      startLogin({ platform }),
    ]);
  });
  afterAll(async () => {
    await at?.close();
    await off?.close();
  });

  const ask = (parameters: Record<string, string>, fixture = at) =>
    fixture.agent().navigate(`${fixture.app.url}/auth/initiate?${new URLSearchParams(parameters)}`);
  const linkOf = (page: string) =>
    new URL(/href="([^"]+)"/.exec(page)![1]!.replace(/&#(\d+);/g, (_, code) => String.fromCharCode(Number(code))));

  it('A-093 asks first, then logs in and goes where the link points', async () => {
    const agent = at.agent();
    const before = [at.provider.requests.length, await at.count('oauth_states')];
    const query = new URLSearchParams({
      iss: at.provider.issuer,
      login_hint: 'user-1',
      target_link_uri: `${at.app.url}/me?from=portal`,
    });
    const answer = await agent.navigate(`${at.app.url}/auth/initiate?${query}`);
    expect([answer.status, answer.setCookies, answer.headers.get('cache-control')]).toEqual([200, [], 'no-store']);
    expect(answer.headers.get('content-security-policy')).toContain("frame-ancestors 'none'");
    expect([at.provider.requests.length, await at.count('oauth_states')]).toEqual(before);
    const landed = await agent.navigate(linkOf(answer.body).href);
    expect([landed.status, landed.url]).toEqual([200, `${at.app.url}/me?from=portal`]);
    expect(at.provider.requestsTo('authorize').at(-1)!.query.get('login_hint')).toBe('user-1');
  });

  it('A-093 takes a form as well', async () => {
    const body = new URLSearchParams({ iss: at.provider.issuer, target_link_uri: '/me' });
    const headers = { 'content-type': 'application/x-www-form-urlencoded' };
    const answer = await at.agent().fetch(`${at.app.url}/auth/initiate`, { method: 'POST', body: `${body}`, headers });
    expect([answer.status, linkOf(answer.body).searchParams.get('returnTo')]).toEqual([200, '/me']);
  });

  it.each([
    ['no issuer', {}],
    ['an unknown issuer', { iss: 'https://evil.example' }],
    ['an issuer spelled otherwise', { iss: 'SAME/' }],
    ['a synthetic issuer', { iss: 'oauth2:fake' }],
  ])('A-093 refuses %s, and asks no server', async (_name, given: { iss?: string }) => {
    const before = at.provider.requests.length;
    const iss = given.iss === 'SAME/' ? `${at.provider.issuer}/` : given.iss;
    expect((await ask(iss === undefined ? {} : { iss })).status).toBe(400);
    expect(at.provider.requests.length).toBe(before);
  });

  it.each([
    'https://evil.example/',
    '//evil.example',
    '/\\evil.example',
    'javascript:alert(1)',
    '/auth/logout',
    'OURS//evil.example',
    'OURS@evil.example',
    'OURS/auth/logout',
  ])('A-093 does not lead to %s', async (target) => {
    const answer = await ask({ iss: at.provider.issuer, target_link_uri: target.replace('OURS', at.app.url) });
    expect([answer.status, linkOf(answer.body).searchParams.get('returnTo')]).toEqual([200, '/']);
  });

  it.each([
    ['JSON', 400, '{"iss":"ISS"}', 'application/json'],
    ['several parts', 400, 'iss=ISS', 'multipart/form-data; boundary=x'],
    ['a list', 400, 'iss[]=ISS', undefined],
    ['an object', 400, 'iss[a]=ISS', undefined],
    ['two issuers', 400, 'iss=ISS&iss=https://evil.example', undefined],
    ['two targets', 400, 'iss=ISS&target_link_uri=/me&target_link_uri=//evil.example', undefined],
    ['a prototype', 400, '__proto__[iss]=ISS', undefined],
    ['too much', 400, `iss=ISS&login_hint=${'x'.repeat(9_000)}`, undefined],
  ])('A-093 refuses a form with %s (%i)', async (_name, status, form, type) => {
    const headers = { 'content-type': type ?? 'application/x-www-form-urlencoded' };
    const body = form.replaceAll('ISS', type ? at.provider.issuer : encodeURIComponent(at.provider.issuer));
    const answer = await at.agent().fetch(`${at.app.url}/auth/initiate`, { method: 'POST', body, headers });
    // Fastify itself refuses what it cannot parse.
    const expected = platform === 'fastify' && type?.startsWith('multipart/') ? 415 : status;
    expect([answer.status, answer.setCookies]).toEqual([expected, []]);
    expect(({} as Record<string, unknown>).iss).toBeUndefined();
  });

  it('A-093 a hint is data: it neither breaks out of the page nor adds parameters', async () => {
    const login_hint = `"><script>alert(1)</script>&returnTo=//evil.example&prompt=none`;
    const answer = await ask({ iss: at.provider.issuer, login_hint, target_link_uri: '/me?a=1&b="><b>' });
    expect(answer.body).not.toMatch(/<script|<b>/);
    const link = linkOf(answer.body);
    expect([...link.searchParams]).toEqual([
      ['returnTo', '/me?a=1&b=%22%3E%3Cb%3E'],
      ['login_hint', login_hint],
    ]);
    expect(link.origin + link.pathname).toBe(`${at.app.url}/auth/fake/login`);
  });

  it('A-093 refuses a repeated issuer, and is not there unless it is asked for', async () => {
    const url = `${at.app.url}/auth/initiate?iss=${at.provider.issuer}&iss=https://evil.example`;
    expect((await at.agent().navigate(url)).status).toBe(400);
    expect((await ask({ iss: off.provider.issuer }, off)).status).toBe(404);
    expect((await off.agent().fetch(`${off.app.url}/auth/initiate`, { method: 'POST' })).status).toBe(404);
  });
});
