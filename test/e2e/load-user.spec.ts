// `loadUser`: the application's own user behind @CurrentUser(), and the last word on who may still come in.
import { Controller, Get, UseGuards } from '@nestjs/common';
import { CurrentSession, CurrentUser, type OAuthSession, type OAuthUser, SessionGuard } from '../../src/index.js';
import { platforms } from '../support/app.js';
import { codeOf, type LoginFixture, startLogin } from '../support/login-fixture.js';
import type { UserAgent } from '../support/user-agent.js';

interface Person extends OAuthUser {
  role: string;
}

@Controller('me')
@UseGuards(SessionGuard)
class MeController {
  static entered = 0;
  @Get() me(@CurrentUser() user: unknown, @CurrentSession() session: OAuthSession): object {
    MeController.entered++;
    return { user, session };
  }
}

describe.each(platforms)('the application’s own user on %s', (platform) => {
  let at: LoginFixture;
  let agent: UserAgent;
  let asked: [OAuthUser, OAuthSession][] = [];
  let answer: (user: OAuthUser) => unknown = (user) => user;

  beforeAll(async () => {
    at = await startLogin({
      platform,
      controllers: [MeController],
      oauth: {
        loadUser: (user, session) => {
          asked.push([user, session]);
          return answer(user) as Promise<Person>;
        },
      },
    });
    agent = at.agent();
    await at.login(agent);
  });
  beforeEach(() => {
    asked = [];
    answer = (user) => user;
    MeController.entered = 0;
  });
  afterAll(() => at?.close());

  const me = () => agent.fetch(`${at.app.url}/me`);

  it('is what @CurrentUser() gives; the session keeps the identity', async () => {
    answer = async (user) => ({ ...user, role: 'admin' });
    const { user, session } = (await me()).json<{ user: Person; session: OAuthSession }>();
    expect(user).toEqual({ ...session.user, role: 'admin' });
    expect(session.user.subject).toBe('user-1');
    expect(asked).toEqual([[session.user, expect.objectContaining({ id: session.id })]]);
    const who = (await agent.fetch(`${at.app.url}/auth/session`)).json<{ user: object }>();
    expect(who.user).toEqual(session.user);
  });

  it.each([
    ['null', () => null],
    ['undefined', async () => undefined],
    ["false, as Passport's strategies say it", async () => false],
  ])('C-009 who is no longer there is refused at the next request, on our routes too: %s', async (_name, nobody) => {
    answer = nobody;
    for (const path of ['/me', '/auth/session', '/auth/sessions', '/auth/accounts']) {
      const refused = await agent.fetch(at.app.url + path);
      expect([path, refused.status, codeOf(refused), refused.setCookies]).toEqual([path, 401, 'user_gone', []]);
    }
    // A page, and no redirect: a login would come back at once, and go round for ever.
    const page = await agent.navigate(`${at.app.url}/me`, { followRedirects: false });
    expect([page.status, codeOf(page)]).toEqual([401, 'user_gone']);
    expect(page.body).toContain(`href="${at.app.url}/auth/login"`);
    const link = await agent.fetch(`${at.app.url}/auth/fake/link`, { method: 'POST' });
    expect([link.status, codeOf(link)]).toEqual([401, 'user_gone']);
    expect(MeController.entered).toBe(0);
    answer = (user) => user;
    expect((await me()).status).toBe(200);
  });

  it('C-009 who is gone by the time the provider answers connects no identity, and keeps the session id', async () => {
    const linking = at.agent();
    await at.login(linking);
    const begun = await linking.navigate(`${at.app.url}/auth/fake/link`, {
      ...{ method: 'POST', form: {}, followRedirects: false },
    });
    at.provider.user({ sub: 'linked-too-late' });
    const callback = await at.consent(begun.headers.get('location')!);
    at.provider.user({ sub: 'user-1' });
    const [accounts, cookie] = [await at.count('oauth_accounts'), linking.cookie('oauth_session')];
    answer = () => null;
    const refused = await at.callback(linking, callback);
    expect([refused.status, codeOf(refused)]).toEqual([401, 'user_gone']);
    expect(await at.count('oauth_accounts')).toBe(accounts);
    expect(linking.cookie('oauth_session')).toBe(cookie);
  });

  it.each([
    [
      'throws',
      () => {
        throw new Error('canary');
      },
    ],
    ['rejects', () => Promise.reject(new TypeError('canary'))],
    ['rejects with nothing', () => Promise.reject(undefined as unknown as Error)],
  ])('C-004 denies with 503 when the user loader %s', async (_name, failing) => {
    answer = failing;
    const refused = await me();
    expect([refused.status, codeOf(refused), refused.headers.has('retry-after')]).toEqual([
      503,
      'user_unavailable',
      true,
    ]);
    expect(refused.body).not.toContain('canary');
    expect((await agent.fetch(`${at.app.url}/auth/session`)).status).toBe(503);
    expect(MeController.entered).toBe(0);
  });

  it('is not asked without a live session, nor to log out', async () => {
    await at.agent().fetch(`${at.app.url}/me`);
    expect(asked).toEqual([]);
    answer = () => null;
    const leaving = at.agent();
    await at.login(leaving);
    const out = await leaving.fetch(`${at.app.url}/auth/logout`, { method: 'POST' });
    expect([out.status, asked]).toEqual([200, []]);
  });
});
