// Bounds of pending logins, keys that this process does not know, and a random generator that fails.
import { randomBytes } from 'node:crypto';
import { jest } from '@jest/globals';
import * as actual from 'node:crypto';
import type { LoginFixture } from '../support/login-fixture.js';

let generatorFails = false;
jest.unstable_mockModule('node:crypto', () => ({
  ...actual,
  default: actual,
  randomBytes: (size: number, ...more: []) => {
    if (generatorFails) throw new Error('no entropy');
    return actual.randomBytes(size, ...more);
  },
}));
const { oidcOf, platforms, startApp } = await import('../support/app.js');
const { OAuthEvents } = await import('../../src/index.js');
const { codeOf, startLogin } = await import('../support/login-fixture.js');

describe.each(platforms)('pending logins on %s', (platform) => {
  let at: LoginFixture;

  beforeEach(async () => {
    at = await startLogin({ platform, oauth: { login: { maxPending: 5, maxPendingPerBrowser: 2 } } });
  });
  afterEach(async () => {
    generatorFails = false;
    await at?.close();
  });

  it('E-057 beyond the bound the next login is 429 with Retry-After, and leaves no row', async () => {
    for (let round = 0; round < 5; round++) await at.begin(at.agent());
    const answer = await at.agent().navigate(`${at.app.url}/auth/fake/login`, { followRedirects: false });
    expect([answer.status, codeOf(answer), answer.setCookies]).toEqual([429, 'too_many_requests', []]);
    expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0);
    expect(await at.count('oauth_states')).toBe(5);
    await at.database.query(`update oauth_states set expires_at = now() - interval '1 second'`);
    await at.begin(at.agent());
  });

  it('E-057 one browser keeps its newest pending logins', async () => {
    const agent = at.agent();
    await at.begin(agent);
    const urls = [];
    for (let round = 0; round < 3; round++) urls.push(await at.untilCallback(agent));
    const statuses = [];
    for (const url of urls) statuses.push((await at.callback(agent, url)).status);
    expect(statuses).toEqual([400, 303, 303]);
  });

  it('D-036 a key that this process does not know yet: 503, an alarm, and the login finishes where the key is', async () => {
    const agent = at.agent();
    const url = await at.untilCallback(agent, '?returnTo=/me');
    const behind = await startApp({
      platform,
      database: at.database.url,
      providers: [oidcOf(at.provider)],
      oauth: { encryption: { keys: [{ id: 'other', secret: randomBytes(32) }] } },
    });
    const alarms: object[] = [];
    behind.app.get(OAuthEvents).on('alarm', (alarm) => alarms.push(alarm));
    try {
      const there = new URL(url.pathname + url.search, behind.url);
      const answer = await agent.navigate(there.href, { followRedirects: false });
      expect([answer.status, codeOf(answer)]).toEqual([503, 'key_unavailable']);
      expect(at.provider.requestsTo('token')).toHaveLength(0);
      expect(alarms).toContainEqual({
        ...{ code: 'key_unavailable', provider: 'fake' },
        message: expect.stringContaining('"test"'),
      });
    } finally {
      await behind.close();
    }
    expect((await at.callback(agent, url)).headers.get('location')).toBe(`${at.app.url}/me`);
  });

  it('D-025 without randomness there is no login: 500, no cookie, no row', async () => {
    const agent = at.agent();
    const url = await at.untilCallback(agent);
    const [states, sessions] = [await at.count('oauth_states'), await at.count('oauth_sessions')];
    generatorFails = true;
    const start = await at.agent().navigate(`${at.app.url}/auth/fake/login`, { followRedirects: false });
    expect([start.status, start.setCookies, start.headers.get('location')]).toEqual([500, [], null]);
    const end = await at.callback(agent, url);
    expect([end.status, end.setCookies]).toEqual([expect.any(Number), []]);
    expect(end.status).toBeGreaterThanOrEqual(500);
    generatorFails = false;
    expect([await at.count('oauth_states'), await at.count('oauth_sessions')]).toEqual([states, sessions]);
  });
});
