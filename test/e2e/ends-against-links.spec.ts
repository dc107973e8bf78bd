// Whoever ends sessions while one of them is being changed by a link or a login: what was to end has ended, what was not to
// be lost is there. Each act begins while the other transaction holds what it has written, and waits for it.
import { setTimeout as sleep } from 'node:timers/promises';
import { LinkRepository } from '../../src/auth/link.repository.js';
import { LoginRepository } from '../../src/auth/login.repository.js';
import { AccountService, OAuthEvents, type OAuthLogin, SessionService } from '../../src/index.js';
import { SessionRepository } from '../../src/sessions/session.repository.js';
import { FakeProvider } from '../../src/testing/index.js';
import { MeController, oidcOf, type RunningApp, startApp } from '../support/app.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { UserAgent } from '../support/user-agent.js';

/** How long a transaction is kept open, milliseconds: time enough for the act to come to its locks. */
const HELD = 250;

describe('ends of sessions against what changes them', () => {
  let database: TestDatabase;
  let first: FakeProvider;
  let second: FakeProvider;
  let app: RunningApp;
  let limited: RunningApp;
  let onLogin: (login: OAuthLogin) => string | Promise<string>;
  let next = 0;

  beforeAll(async () => {
    [database, first, second] = await Promise.all([createTestDatabase(), FakeProvider.start(), FakeProvider.start()]);
    const providers = [oidcOf(first, { name: 'first' }), oidcOf(second, { name: 'second' })];
    const controllers = [MeController];
    const named = { onLogin: (login: OAuthLogin) => onLogin(login) };
    app = await startApp({ database: database.url, providers, controllers, oauth: named });
    limited = await startApp({
      database: database.url,
      providers,
      controllers,
      oauth: { ...named, session: { maxPerUser: 2 } },
    });
  });
  beforeEach(() => {
    next++;
    first.user({ sub: `first-${next}` });
    second.user({ sub: `second-${next}` });
    onLogin = ({ account, subject, currentUser }) => account?.userId ?? currentUser?.id ?? `user of ${subject}`;
  });
  afterAll(async () => {
    await app?.close();
    await limited?.close();
    await first?.close();
    await second?.close();
    await database?.drop();
  });

  async function login(at: RunningApp, provider: 'first' | 'second', agent = new UserAgent()): Promise<UserAgent> {
    await agent.navigate(`${at.url}/auth/${provider}/login?returnTo=/me`);
    return agent;
  }
  const status = async (agent: UserAgent, at = app) => (await agent.fetch(`${at.url}/me`)).status;
  const me = async (agent: UserAgent, at = app) =>
    (await agent.fetch(`${at.url}/me`)).json<{ user: { id: string }; session: { id: string } }>();
  const accountsOf = (user: string) => app.app.get(AccountService).list(user);

  /** Begins an act while a link has given the session another id and not committed yet. */
  async function whileLinked(agent: UserAgent, act: () => Promise<unknown>): Promise<unknown> {
    const links = app.app.get(LinkRepository, { strict: false });
    const rotate = links.rotate.bind(links);
    let acted: Promise<unknown> = Promise.resolve('the link came to nothing');
    links.rotate = async (...given) => {
      const left = await rotate(...given);
      acted = act();
      await sleep(HELD);
      return left;
    };
    try {
      await agent.navigate(`${app.url}/auth/second/link?returnTo=/me/public`, { method: 'POST', form: {} });
    } finally {
      links.rotate = rotate;
    }
    return acted;
  }

  const url = () => `${app.url}/auth/first/backchannel-logout`;
  it.each<[string, unknown, (agent: UserAgent, id: string, user: string) => Promise<unknown>]>([
    ['A-107 a logout token by sid', 200, async () => (await first.sendBackchannelLogout(url(), { sub: undefined })).status],
    ['A-107 a logout token by subject', 200, async () => (await first.sendBackchannelLogout(url(), { sid: undefined })).status],
    ['A-108 a front-channel logout', 200, async () => (await fetch(first.frontchannelLogoutUrl(`${app.url}/auth/first/frontchannel-logout`))).status],
    ['D-011 endAll()', 1, (_agent, _id, user) => app.app.get(SessionService).endAll(user)],
    ['D-011 end()', true, (_agent, id, user) => app.app.get(SessionService).end(user, id)],
    ['C-009 endAllOfAccount()', 1, async (_agent, _id, user) => app.app.get(SessionService).endAllOfAccount((await accountsOf(user)).find(({ provider }) => provider === 'first')!.id)],
    ['D-008 a logout with the cookie from before', 200, async (agent) => {
      const headers = { cookie: `oauth_session=${agent.cookie('oauth_session')}` };
      return (await fetch(`${app.url}/auth/logout`, { method: 'POST', headers })).status;
    }],
  ])('%s ends the session that a link is giving a new id', async (_name, expected, act) => {
    const agent = await login(app, 'first');
    const { user, session } = await me(agent);
    const before = agent.cookie('oauth_session');
    expect(await whileLinked(agent, () => act(agent, session.id, user.id))).toBe(expected);
    expect(agent.cookie('oauth_session')).not.toBe(before);
    expect(await status(agent)).toBe(401);
    expect(await database.query('select 1 from oauth_sessions where user_id = $1', [user.id])).toEqual([]);
  }); // prettier-ignore

  it.each<[string, (user: string) => Promise<unknown>]>([
    ['D-011 endAll()', (user) => app.app.get(SessionService).endAll(user)],
    ['C-009 endAllOfAccount()', async (user) => app.app.get(SessionService).endAllOfAccount((await accountsOf(user))[0]!.id)],
  ])('%s ends the session that a login is putting in the place of another', async (_name, act) => {
    const agent = await login(app, 'first');
    const { user } = await me(agent);
    const before = agent.cookie('oauth_session');
    const logins = app.app.get(LoginRepository, { strict: false });
    const write = logins.write.bind(logins);
    let acted: Promise<unknown> = Promise.resolve();
    logins.write = async (...given) => {
      logins.write = write;
      const written = await write(...given);
      acted = act(user.id);
      await sleep(HELD);
      return written;
    };
    await agent.navigate(`${app.url}/auth/first/login?returnTo=/me/public`);
    expect(await acted).toBe(1);
    expect(agent.cookie('oauth_session')).not.toBe(before);
    expect(await status(agent)).toBe(401);
  }); // prettier-ignore

  it('D-012 ending all other sessions spares the one that asks, although a link has just given it another id', async () => {
    const [agent, other] = [await login(app, 'first'), await login(app, 'first')];
    const sessions = app.app.get(SessionRepository, { strict: false });
    const identities = sessions.identities.bind(sessions);
    sessions.identities = async (...given) => {
      sessions.identities = identities;
      await agent.navigate(`${app.url}/auth/second/link?returnTo=/me/public`, { method: 'POST', form: {} });
      return identities(...given);
    };
    const headers = { cookie: `oauth_session=${agent.cookie('oauth_session')}` };
    const answer = await fetch(`${app.url}/auth/sessions`, { method: 'DELETE', headers });
    expect(await answer.json()).toEqual({ ended: 1 });
    expect([await status(agent), await status(other)]).toEqual([200, 401]);
  });

  it('D-011 endAll() that fails half way tells of those that have ended', async () => {
    onLogin = () => `user ${next}`;
    const agents = [await login(app, 'first'), await login(app, 'second')];
    const ids = await Promise.all(agents.map(async (agent) => (await me(agent)).session.id));
    const told: string[] = [];
    app.app.get(OAuthEvents).on('logout', ({ sessionIds }) => void told.push(...sessionIds));
    const sessions = app.app.get(SessionRepository, { strict: false });
    const remove = sessions.remove.bind(sessions);
    let removed = 0;
    sessions.remove = async (...given) => {
      if (removed++ > 0) throw new Error('not this one');
      return remove(...given);
    };
    try {
      await expect(app.app.get(SessionService).endAll(`user ${next}`)).rejects.toMatchObject({ code: 'server_error' });
    } finally {
      sessions.remove = remove;
    }
    const codes = await Promise.all(agents.map((agent) => status(agent)));
    expect([...codes].sort()).toEqual([200, 401]);
    expect(told).toEqual(ids.filter((_id, index) => codes[index] === 401));
  });

  it('C-008 an identity that is disconnected while it logs in does not come back as the user that it was', async () => {
    const owner = await login(app, 'first');
    const { user } = await me(owner);
    await owner.navigate(`${app.url}/auth/second/link?returnTo=/me`, { method: 'POST', form: {} });
    const linked = (await accountsOf(user.id)).find(({ provider }) => provider === 'second')!;
    onLogin = async ({ account }) => {
      const answer = await owner.fetch(`${app.url}/auth/accounts/${linked.id}`, { method: 'DELETE' });
      expect(answer.status).toBe(200);
      return account!.userId;
    };
    const other = await login(app, 'second');
    expect(await status(other)).toBe(401);
    expect((await accountsOf(user.id)).map(({ provider }) => provider)).toEqual(['first']);
  });

  /** Begins logins at the application with the limit while another one has looked for what is too many. */
  async function whileLimiting(provider: 'first' | 'second', begin: () => Promise<UserAgent>[]): Promise<UserAgent[]> {
    const logins = limited.app.get(LoginRepository, { strict: false });
    const oldest = logins.oldest.bind(logins);
    let others: Promise<UserAgent>[] = [];
    logins.oldest = async (...given) => {
      logins.oldest = oldest;
      const found = await oldest(...given);
      others = begin();
      await sleep(HELD);
      return found;
    };
    const held = await login(limited, provider);
    return [held, ...(await Promise.all(others))];
  }
  const alive = async (agents: UserAgent[]) => {
    const codes = await Promise.all(agents.map((agent) => status(agent, limited)));
    return codes.filter((code) => code === 200).length;
  };

  it('D-012 the limit of sessions takes no grant from a login that is just committing', async () => {
    onLogin = () => `user ${next}`;
    const old = await login(limited, 'second');
    const agents = await whileLimiting('second', () => [login(limited, 'first'), login(limited, 'first')]);
    expect(await alive([old, ...agents])).toBe(2);
    const rows = await database.query(
      `select g.status from oauth_sessions s join oauth_grants g on g.id = s.grant_id where s.user_id = $1`,
      [`user ${next}`],
    );
    expect(rows).toEqual([{ status: 'active' }, { status: 'active' }]);
  });

  it('D-012 the limit of sessions is kept by two logins at once with different identities', async () => {
    onLogin = () => `user ${next}`;
    const before = await login(limited, 'first');
    const agents = await whileLimiting('second', () => {
      second.user({ sub: `third-${next}` });
      return [login(limited, 'second')];
    });
    expect(await alive([before])).toBe(0);
    expect(await alive(agents)).toBe(2);
  });

  it('D-012 the limit of sessions ends the oldest also while a link is giving it a new id', async () => {
    onLogin = ({ account, currentUser }) => account?.userId ?? currentUser?.id ?? `user ${next}`;
    const agent = await login(app, 'first');
    await login(app, 'first');
    const crowding = whileLinked(agent, () => {
      first.user({ sub: `third-${next}` });
      return login(limited, 'first');
    });
    expect(await crowding).toBeInstanceOf(UserAgent);
    expect(await status(agent)).toBe(401);
    expect(await database.query('select 1 from oauth_sessions where user_id = $1', [`user ${next}`])).toHaveLength(2);
  });
});
