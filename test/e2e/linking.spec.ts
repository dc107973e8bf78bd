import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { oidcOf, platforms, type RunningApp, startApp } from '../support/app.js';
import { UserAgent } from '../support/user-agent.js';
import { AccountService, OAuthEvents } from '../../src/index.js';
import { FakeProvider } from '../../src/testing/index.js';

describe.each(platforms)('linking on %s', (platform) => {
  let database: TestDatabase;
  let first: FakeProvider;
  let second: FakeProvider;
  let app: RunningApp;
  let next = 0;

  beforeAll(async () => {
    [database, first, second] = await Promise.all([createTestDatabase(), FakeProvider.start(), FakeProvider.start()]);
    app = await startApp({
      platform,
      database: database.url,
      providers: [oidcOf(first, { name: 'first' }), oidcOf(second, { name: 'second', grant: 'session' })],
    });
  });
  beforeEach(() => {
    next++;
    first.user({ sub: `first-${next}` });
    second.user({ sub: `second-${next}`, email: 'victim@example.com' });
  });
  afterAll(async () => {
    await app?.close();
    await first?.close();
    await second?.close();
    await database?.drop();
  });

  async function login(name = 'first'): Promise<UserAgent> {
    const agent = new UserAgent();
    await agent.navigate(`${app.url}/auth/${name}/login?returnTo=/me`);
    return agent;
  }
  const link = (agent: UserAgent, options: object = {}) =>
    agent.navigate(`${app.url}/auth/second/link?returnTo=/me`, { method: 'POST', form: {}, ...options });
  const me = async (agent: UserAgent) =>
    (await agent.fetch(`${app.url}/me`)).json<{ user: { id: string }; session: { id: string } }>();
  const accounts = async (agent: UserAgent) =>
    (await agent.fetch(`${app.url}/auth/accounts`)).json<{ id: string; provider: string }[]>();

  it('connects another identity to the logged-in user, under a new session id, and tells', async () => {
    const events: unknown[] = [];
    const off = app.app.get(OAuthEvents).on('linked', (event) => events.push(event));
    const agent = await login();
    const [cookie, before] = [agent.cookie('oauth_session'), await me(agent)];
    const answer = await link(agent);
    expect([answer.status, answer.url, answer.hops[0]!.status]).toEqual([200, `${app.url}/me`, 303]);
    const after = await me(agent);
    expect(after.user).toEqual(before.user);
    expect(after.session.id).not.toBe(before.session.id);
    // C-001: the id from before is dead.
    const old = { url: `${app.url}/me`, headers: { cookie: `oauth_session=${cookie}` }, keepCookies: false };
    expect((await agent.request(old)).status).toBe(401);
    expect((await accounts(agent)).map(({ provider }) => provider)).toEqual(['first', 'second']);
    expect(events).toMatchObject([{ provider: 'second', userId: before.user.id }]);
    off();
    const other = await login('second');
    expect((await me(other)).user.id).toBe(before.user.id);
    const token = await app.tokens.getAccessToken({ userId: before.user.id, provider: 'second' });
    expect(second.isActive(token.value)).toBe(true);
    // The ID token was sealed again for the new id: logout still has its hint.
    const { logoutUrl } = (await agent.fetch(`${app.url}/auth/logout`, { method: 'POST' })).json<{
      logoutUrl: string;
    }>();
    expect(new URL(logoutUrl).searchParams.has('id_token_hint')).toBe(true);
  });

  it('a session with a grant of its own at the linked provider leaves the linked grant alone when it ends', async () => {
    const agent = await login();
    await link(agent);
    const { id: userId } = (await me(agent)).user;
    const other = await login('second');
    expect((await other.fetch(`${app.url}/auth/logout`, { method: 'POST' })).status).toBe(200);
    const rows = await database.query(
      `select g.session_id is null as linked, g.status from oauth_grants g join oauth_accounts a on a.id = g.account_id
       where a.user_id = $1 and g.provider = 'second' order by linked`,
      [userId],
    );
    expect(rows).toEqual([
      { linked: false, status: 'revoked' },
      { linked: true, status: 'active' },
    ]);
    const token = await app.tokens.getAccessToken({ userId, provider: 'second' });
    expect(second.isActive(token.value)).toBe(true);
  });

  it('answers a script with the address to go to', async () => {
    const agent = await login();
    const answer = await agent.fetch(`${app.url}/auth/second/link?returnTo=/me`, { method: 'POST' });
    expect(answer.status).toBe(200);
    expect((await agent.navigate(answer.json<{ linkUrl: string }>().linkUrl)).url).toBe(`${app.url}/me`);
    expect(await accounts(agent)).toHaveLength(2);
  });

  it('C-023 does nothing for another site, a link, or nobody', async () => {
    const agent = await login();
    const states = async () => Number((await database.query('select count(*) from oauth_states'))[0]!.count);
    const before = await states();
    const evil = 'https://evil.example/';
    const url = `${app.url}/auth/second/link`;
    const headers = { cookie: `oauth_session=${agent.cookie('oauth_session')}` };
    const answers = [
      await agent.navigate(url, { from: evil }),
      await link(agent, { from: evil }),
      await agent.request({ url, method: 'POST', headers: { ...headers, origin: evil } }),
      await agent.request({ url, method: 'POST', headers: { ...headers, 'sec-fetch-site': 'same-site' } }),
      await new UserAgent().fetch(url, { method: 'POST' }),
    ];
    expect(answers.map(({ status }) => status)).toEqual([405, 403, 403, 403, 401]);
    expect(await states()).toBe(before);
    expect(await accounts(agent)).toHaveLength(1);
  });

  it('C-023 refuses the answer without the same session', async () => {
    const agent = await login();
    const begun = await link(agent, { followRedirects: false });
    const other = new UserAgent();
    first.user({ sub: `other-${next}` });
    await other.navigate(`${app.url}/auth/first/login?returnTo=/me`);
    // The same browser, but somebody else has logged in meanwhile, or nobody is.
    const jar = agent.cookies.map(({ name, value }) => `${name}=${value}`);
    const at = await agent.navigate(begun.headers.get('location')!, { followRedirects: false });
    const callback = at.headers.get('location')!;
    const browser = jar.find((cookie) => cookie.startsWith('oauth_browser'))!;
    const stolen = await agent.request({
      url: callback,
      headers: { cookie: `${browser}; oauth_session=${other.cookie('oauth_session')}` },
      keepCookies: false,
    });
    expect([stolen.status, stolen.setCookies]).toEqual([400, []]);
    expect(await accounts(agent)).toHaveLength(1);
    expect(await accounts(other)).toHaveLength(1);
    expect(second.logins.at(-1)).toMatchObject({ sub: `second-${next}` });
    expect((await database.query('select 1 from oauth_accounts where subject = $1', [`second-${next}`])).length).toBe(
      0,
    );
  });

  it('C-007 C-008 refuses an identity that is somebody else’s, and e-mail connects nobody', async () => {
    const attacker = await login();
    const victim = await login('second');
    expect((await me(victim)).user.id).not.toBe((await me(attacker)).user.id);
    const before = await me(attacker);
    expect((await link(attacker)).status).toBe(403);
    expect(await me(attacker)).toEqual(before);
    expect(await accounts(attacker)).toHaveLength(1);
    expect((await me(victim)).user.id).not.toBe(before.user.id);
  });

  it('wants a recent login', async () => {
    const agent = await login();
    await database.query(`update oauth_sessions set created_at = now() - interval '11 minutes'`);
    const answer = await agent.fetch(`${app.url}/auth/second/link`, { method: 'POST' });
    expect([answer.status, answer.json()]).toMatchObject([401, { code: 'step_up_required' }]);
    await agent.navigate(answer.json<{ loginUrl: string }>().loginUrl);
    expect((await link(agent)).status).toBe(200);
    expect(await accounts(agent)).toHaveLength(2);
  });

  it('disconnects: sessions end, tokens are revoked, and the identity comes back as a new user', async () => {
    const agent = await login();
    await link(agent);
    const other = await login('second');
    const refresh = second.issued.filter((item) => item.kind === 'refreshToken').at(-1)!.value;
    const [, account] = await accounts(agent);
    const foreign = await login('second').then(me);
    expect(foreign.user.id).toBe((await me(agent)).user.id);
    const url = `${app.url}/auth/accounts/${account!.id}`;
    expect((await agent.fetch(url, { method: 'DELETE', from: 'https://evil.example' })).status).toBe(403);
    expect((await agent.fetch(url, { method: 'DELETE' })).json()).toEqual({ unlinked: account!.id });
    expect((await other.fetch(`${app.url}/me`)).status).toBe(401);
    expect((await agent.fetch(`${app.url}/me`)).status).toBe(200);
    for (let wait = 0; wait < 60 && second.isActive(refresh); wait++) await new Promise((r) => setTimeout(r, 50));
    expect(second.isActive(refresh)).toBe(false);
    expect((await me(await login('second'))).user.id).not.toBe((await me(agent)).user.id);
  });

  it('E-068 keeps the last identity, and finds only one’s own', async () => {
    const agent = await login();
    const stranger = await login('second');
    const [own] = await accounts(agent);
    const [theirs] = await accounts(stranger);
    const remove = async (id: string) =>
      (await agent.fetch(`${app.url}/auth/accounts/${id}`, { method: 'DELETE' })).status;
    expect(await remove(own!.id)).toBe(403);
    expect(await remove(theirs!.id)).toBe(404);
    expect(await remove('not-a-uuid')).toBe(404);
    expect([await accounts(agent), await accounts(stranger)]).toEqual([[own], [theirs]]);
  });

  it('C-009 the application ends a user altogether: the next request is 401 and nothing is left', async () => {
    const agent = await login();
    const { user } = await me(agent);
    const service = app.app.get(AccountService);
    for (const { id } of await service.list(user.id)) await service.unlink(user.id, id, { evenLast: true });
    expect((await agent.fetch(`${app.url}/me`)).status).toBe(401);
    await expect(app.tokens.getAccessToken({ userId: user.id, provider: 'first' })).rejects.toMatchObject({
      status: 401,
    });
  });
});
