// The cross-site check and its exemptions: exact paths, exact origins, and never our own routes.
import { Controller, Delete, Get, Post, UseGuards } from '@nestjs/common';
import { CurrentUser, SessionGuard } from '../../src/index.js';
import { MeController, oidcOf, platforms, startApp } from '../support/app.js';
import { createTestDatabase } from '../support/database.js';
import { codeOf, type LoginFixture, startLogin } from '../support/login-fixture.js';
import type { UserAgent } from '../support/user-agent.js';

const ORIGIN = 'https://app.example';
const ADMIN = 'https://admin.app.example';
const SIBLING = 'https://blog.app.example';

@Controller('hooks')
@UseGuards(SessionGuard)
class HooksController {
  @Post('billing') billing(@CurrentUser('subject') subject: string): object {
    return { subject };
  }
  @Post('billing/refund') refund(): string {
    return 'never';
  }
  @Delete('billing') remove(@CurrentUser('subject') subject: string): object {
    return { subject };
  }
  @Get('billing') read(): string {
    return 'read';
  }
}

describe.each(platforms)('exemptions from the cross-site check on %s', (platform) => {
  let at: LoginFixture;
  let agent: UserAgent;

  beforeAll(async () => {
    at = await startLogin({
      platform,
      baseUrl: ORIGIN,
      controllers: [MeController, HooksController],
      oauth: { csrf: { exemptPaths: ['/hooks/billing'], exemptOrigins: [ADMIN] } },
    });
    agent = at.agent();
    await at.login(agent);
  });
  afterAll(() => at?.close());

  const call = async (path: string, from: string, method = 'POST') => {
    const answer = await agent.fetch(ORIGIN + path, { method, from: `${from}/page`, credentials: 'include' });
    return answer.status >= 400 ? codeOf(answer) : answer.status;
  };

  it('A-116 everything else stays refused from a sibling and from another site', async () => {
    for (const from of [SIBLING, 'https://evil.com', 'http://admin.app.example', `${ADMIN}:8443`]) {
      expect([from, await call('/me', from)]).toEqual([from, 'cross_site']);
      expect([from, await call('/hooks/billing/refund', from)]).toEqual([from, 'cross_site']);
    }
    const form = await agent.navigate(`${ORIGIN}/me`, {
      from: `${SIBLING}/`,
      form: { a: '1' },
      followRedirects: false,
    });
    expect(form.status).toBe(403);
    const bare = await agent.request({
      url: `${ORIGIN}/me`,
      method: 'POST',
      headers: { 'sec-fetch-site': 'same-site' },
    });
    expect(bare.status).toBe(403);
  });

  it('an exempt path takes every method from everywhere, and still only with a live session', async () => {
    expect(await call('/hooks/billing', SIBLING)).toBe(201);
    expect(await call('/hooks/billing?x=/me', SIBLING)).toBe(201);
    expect(await call('/hooks/billing', SIBLING, 'DELETE')).toBe(200);
    // From another site the browser keeps the cookie back: nobody is logged in.
    expect(await call('/hooks/billing', 'https://evil.com')).toBe('unauthenticated');
  });

  it.each([
    '/hooks/billing/',
    '/HOOKS/billing',
    '/hooks//billing',
    '//hooks/billing',
    '/hooks/./billing',
    '/hooks/%62illing',
    '/hooks/billing;x',
    '/hooks/billing%3f',
    '/me?/hooks/billing',
    '/me#/hooks/billing',
    '/me/..%2fhooks/billing',
  ])('a path that is spelled otherwise is not exempt: %s', async (path) => {
    const answer = await agent.request({
      ...{ url: `${ORIGIN}/`, path, method: 'POST', keepCookies: false },
      headers: { 'sec-fetch-site': 'same-site', origin: SIBLING },
    });
    // Where a router takes it for a guarded handler at all.
    expect([403, 404]).toContain(answer.status);
  });

  it('a header about another path exempts nothing', async () => {
    const headers = { 'sec-fetch-site': 'same-site', origin: SIBLING };
    for (const name of ['x-original-url', 'x-rewrite-url', 'x-forwarded-uri', 'referer']) {
      const answer = await agent.request({
        ...{ url: `${ORIGIN}/me`, method: 'POST', keepCookies: false },
        headers: { ...headers, [name]: `${ORIGIN}/hooks/billing` },
      });
      expect([name, answer.status]).toEqual([name, 403]);
    }
  });

  it('an exempt origin may call guarded handlers; its name in other headers counts for nothing', async () => {
    expect(await call('/me', ADMIN)).toBe(201);
    expect(await call('/hooks/billing/refund', ADMIN)).toBe(201);
    for (const headers of [
      { 'sec-fetch-site': 'same-site', referer: `${ADMIN}/` },
      { 'sec-fetch-site': 'cross-site', host: 'admin.app.example', 'x-forwarded-host': 'admin.app.example' },
      { origin: `${ADMIN}, ${ADMIN}` },
      { origin: `${ADMIN}/` },
      { origin: ADMIN.toUpperCase() },
      { origin: 'null' },
    ] as Record<string, string>[]) {
      const answer = await agent.request({ url: `${ORIGIN}/me`, method: 'POST', headers, keepCookies: false });
      expect([headers, answer.status]).toEqual([headers, 403]);
    }
  });

  it('no exemption covers our own routes', async () => {
    for (const from of [ADMIN, SIBLING]) {
      expect([from, await call('/auth/logout', from)]).toEqual([from, 'cross_site']);
      expect([from, await call('/auth/sessions', from, 'DELETE')]).toEqual([from, 'cross_site']);
      expect([from, await call('/auth/fake/link', from)]).toEqual([from, 'cross_site']);
    }
    expect(await at.status(agent)).toBe(200);
  });

  it.each([
    ['/auth/logout', ''],
    ['/AUTH/fake/link', ''],
    ['/api/auth/sessions', 'api'],
  ])('refuses to start where a route of ours is listed: %s', async (path, prefix) => {
    await using database = await createTestDatabase();
    const start = startApp({
      ...{ platform, database: database.url, providers: [oidcOf(at.provider)] },
      oauth: { csrf: { exemptPaths: ['/hooks/billing', path] } },
      configure: (app) => void app.setGlobalPrefix(prefix),
    });
    await expect(start).rejects.toThrow(`csrf.exemptPaths: ${path} is a route of this module`);
  });
});
