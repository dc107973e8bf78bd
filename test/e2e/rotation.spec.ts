// Requests under way with the cookie that a login has just replaced: refused, and the new cookie lives.
import { jest } from '@jest/globals';
import { randomBytes } from 'node:crypto';
import { Controller, Get, UseGuards } from '@nestjs/common';
import { RequireFreshAuth, SessionGuard } from '../../src/index.js';
import { SessionRepository } from '../../src/sessions/session.repository.js';
import { MeController, oidcOf, platforms, startApp } from '../support/app.js';
import { type LoginFixture, startLogin } from '../support/login-fixture.js';
import type { UserAgent } from '../support/user-agent.js';

@Controller('fresh')
@UseGuards(SessionGuard)
class FreshController {
  @Get() @RequireFreshAuth({ maxAge: 60 }) read(): string {
    return 'fresh';
  }
}

const CLEARED = /^oauth_session=;.*Max-Age=0/;

describe.each(platforms)('a session that was replaced, on %s', (platform) => {
  let at: LoginFixture;

  beforeAll(async () => {
    at = await startLogin({
      platform,
      controllers: [MeController, FreshController],
      providers: (provider) => [oidcOf(provider), oidcOf(provider, { name: 'second' })],
    });
  });
  beforeEach(() => at.provider.reset());
  afterAll(() => at?.close());

  /** What a request with the cookies of a moment ago gets: status, and whether it clears the session cookie. */
  async function late(agent: UserAgent, cookie: string, path = '/me', url = at.app.url): Promise<[number, boolean]> {
    const headers = { cookie, accept: 'application/json' };
    const answer = await agent.request({ url: url + path, headers, keepCookies: false });
    return [answer.status, answer.setCookies.some((one) => CLEARED.test(one))];
  }
  const cookiesOf = (agent: UserAgent) =>
    `oauth_session=${agent.cookie('oauth_session')}; oauth_browser=${agent.cookie('oauth_browser')}`;
  async function loggedIn(): Promise<UserAgent> {
    const agent = at.agent();
    await at.login(agent);
    return agent;
  }

  it('a crowd of dead cookies gets its 401, and does not take the database from others', async () => {
    const random = () => randomBytes(32).toString('base64url');
    const sessions = at.app.app.get(SessionRepository, { strict: false });
    const wasReplaced = sessions.wasReplaced.bind(sessions);
    let [atOnce, most] = [0, 0];
    const asking = jest.spyOn(sessions, 'wasReplaced').mockImplementation(async (...hashes) => {
      most = Math.max(most, ++atOnce);
      return wasReplaced(...hashes).finally(() => atOnce--);
    });
    const crowd = Array.from({ length: 200 }, () =>
      late(at.agent(), `oauth_session=${random()}; oauth_browser=${random()}`),
    );
    expect(new Set((await Promise.all(crowd)).map(([status]) => status))).toEqual(new Set([401]));
    expect(most).toBeGreaterThan(0);
    expect(most).toBeLessThanOrEqual(3);
    asking.mockRestore();
    // Alone, as it is usually: cleared.
    expect(await late(at.agent(), `oauth_session=${random()}; oauth_browser=${random()}`)).toEqual([401, true]);
  });

  const ways: [string, (agent: UserAgent) => Promise<unknown>][] = [
    ['logging in again', (agent) => at.login(agent)],
    [
      'another person’s login',
      async (agent) => {
        at.provider.user({ sub: 'somebody-else' });
        await at.login(agent);
      },
    ],
    [
      'a step-up',
      async (agent) => {
        await at.database.query(`update oauth_sessions set auth_time = now() - interval '1 hour'`);
        expect((await agent.navigate(`${at.app.url}/fresh`)).body).toBe('fresh');
      },
    ],
    [
      'a link',
      async (agent) => {
        at.provider.user({ sub: `linked-${Math.random()}` });
        const { linkUrl } = (await agent.fetch(`${at.app.url}/auth/second/link`, { method: 'POST' })).json<{
          linkUrl: string;
        }>();
        await agent.navigate(linkUrl);
      },
    ],
  ];

  it.each(ways)('is refused, and does not clear the cookie that came after: %s', async (_name, replace) => {
    const agent = await loggedIn();
    const before = cookiesOf(agent);
    await replace(agent);
    expect(agent.cookie('oauth_session')).not.toBe(before.split(/[=;]/)[1]);
    expect(await late(agent, before)).toEqual([401, false]);
    expect(await late(agent, before, '/auth/session')).toEqual([401, false]);
    expect(await at.status(agent)).toBe(200);
    // In every process.
    const other = await startApp({
      ...{ platform, database: at.database.url, baseUrl: at.app.url },
      providers: [oidcOf(at.provider), oidcOf(at.provider, { name: 'second' })],
    });
    expect(await late(agent, before, '/me', other.address)).toEqual([401, false]);
    await other.close();
  });

  it('logs out this browser where it asks for that: whoever pressed the button is not to stay logged in', async () => {
    const agent = await loggedIn();
    const before = cookiesOf(agent);
    await at.login(agent);
    const out = await agent.request({ url: `${at.app.url}/auth/logout`, method: 'POST', headers: { cookie: before } });
    expect([out.status, out.setCookies.some((one) => CLEARED.test(one))]).toEqual([200, true]);
    expect(await at.status(agent)).toBe(401);
  });

  it('C-015 it is cleared once no request can be under way any more, and in another browser at once', async () => {
    const agent = await loggedIn();
    const before = cookiesOf(agent);
    await at.login(agent);
    const stranger = await loggedIn();
    const [session] = before.split('; ');
    expect(await late(agent, session!)).toEqual([401, true]);
    expect(await late(agent, `${session}; oauth_browser=${stranger.cookie('oauth_browser')}`)).toEqual([401, true]);
    expect(await late(agent, before)).toEqual([401, false]);
    await at.database.query(`update oauth_states set consumed_at = consumed_at - interval '3 minutes'`);
    expect(await late(agent, before)).toEqual([401, true]);
  });

  it('C-015 a session that ended or expired is cleared, however lately this browser logged in', async () => {
    for (const end of [
      () => at.database.query(`update oauth_sessions set expires_at = now()`),
      () => at.database.query(`update oauth_sessions set idle_expires_at = now()`),
      () => at.database.query(`delete from oauth_sessions`),
    ]) {
      const agent = await loggedIn();
      await at.login(agent);
      await end();
      expect(await late(agent, cookiesOf(agent))).toEqual([401, true]);
    }
    const agent = await loggedIn();
    const garbled = `oauth_session=%%%; oauth_browser=${agent.cookie('oauth_browser')}`;
    expect(await late(agent, garbled)).toEqual([401, true]);
  });
});
