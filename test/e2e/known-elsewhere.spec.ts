// A session that another process remembers: what is done to it here, by every way there is, shows there in the next request.
import { AccountService, SessionService } from '../../src/index.js';
import { FakeProvider } from '../../src/testing/index.js';
import { oidcOf, type RunningApp, startApp } from '../support/app.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { UserAgent } from '../support/user-agent.js';

interface Me {
  user: { id: string; profile: { name: string } };
  session: { id: string; scope: string[] };
}

describe('sessions that another process remembers', () => {
  let database: TestDatabase;
  let first: FakeProvider;
  let second: FakeProvider;
  let here: RunningApp;
  let there: RunningApp;
  let next = 0;

  beforeAll(async () => {
    [database, first, second] = await Promise.all([createTestDatabase(), FakeProvider.start(), FakeProvider.start()]);
    const start = (platform: 'express' | 'fastify', baseUrl?: string) =>
      startApp({
        platform,
        database: database.url,
        providers: [oidcOf(first, { name: 'first' }), oidcOf(second, { name: 'second', grant: 'session' })],
        ...(baseUrl === undefined ? {} : { baseUrl }),
      });
    here = await start('express');
    there = await start('fastify', here.url);
  });
  beforeEach(() => {
    next++;
    first.user({ sub: `first-${next}`, name: 'Before' });
    second.user({ sub: `second-${next}` });
  });
  afterAll(async () => {
    await Promise.all([here?.close(), there?.close()]);
    await Promise.all([first?.close(), second?.close()]);
    await database?.drop();
  });

  const cookieOf = (agent: UserAgent) => agent.cookie('oauth_session')!;
  /** Asks the other process. */
  const askThere = async (cookie: string): Promise<Me | number> => {
    const answer = await fetch(`${there.address}/me`, { headers: { cookie: `oauth_session=${cookie}` } });
    return answer.ok ? ((await answer.json()) as Me) : answer.status;
  };
  /** Logs in here, and has the session read and checked there. */
  async function remembered(): Promise<{ agent: UserAgent; cookie: string; me: Me }> {
    const agent = new UserAgent();
    await agent.navigate(`${here.url}/auth/first/login?returnTo=/me`);
    const cookie = cookieOf(agent);
    await askThere(cookie);
    return { agent, cookie, me: (await askThere(cookie)) as Me };
  }
  const link = (agent: UserAgent) =>
    agent.navigate(`${here.url}/auth/second/link?returnTo=/me`, { method: 'POST', form: {} });

  it('a link: the old cookie is dead there, and the new one stands for the new id', async () => {
    const { agent, cookie, me } = await remembered();
    await link(agent);
    expect(await askThere(cookie)).toBe(401);
    const after = (await askThere(cookieOf(agent))) as Me;
    expect([after.user.id, after.session.id === me.session.id]).toEqual([me.user.id, false]);
  });

  it('another login of the browser: the old cookie is dead there', async () => {
    const { agent, cookie } = await remembered();
    await agent.navigate(`${here.url}/auth/first/login?returnTo=/me`);
    expect(await askThere(cookie)).toBe(401);
    expect(await askThere(cookieOf(agent))).toMatchObject({ user: { profile: { name: 'Before' } } });
  });

  it('a login elsewhere with another profile', async () => {
    const { cookie } = await remembered();
    first.user({ sub: `first-${next}`, name: 'After' });
    await new UserAgent().navigate(`${here.url}/auth/first/login?returnTo=/me`);
    expect(await askThere(cookie)).toMatchObject({ user: { profile: { name: 'After' } } });
  });

  it('a disconnected account, whose sessions end', async () => {
    const { agent, me } = await remembered();
    await link(agent);
    const other = new UserAgent();
    await other.navigate(`${here.url}/auth/second/login?returnTo=/me`);
    const cookie = cookieOf(other);
    expect(((await askThere(cookie)) as Me).user.id).toBe(me.user.id);
    await askThere(cookie);
    const accounts = (await agent.fetch(`${here.url}/auth/accounts`)).json<{ id: string; provider: string }[]>();
    const { id } = accounts.find(({ provider }) => provider === 'second')!;
    expect((await agent.fetch(`${here.url}/auth/accounts/${id}`, { method: 'DELETE' })).status).toBeLessThan(300);
    expect(await askThere(cookie)).toBe(401);
    expect(await askThere(cookieOf(agent))).toMatchObject({ user: { id: me.user.id } });
    await here.app.get(AccountService).unlink(me.user.id, accounts.find(({ provider }) => provider === 'first')!.id, {
      evenLast: true,
    });
    expect(await askThere(cookieOf(agent))).toBe(401);
  });

  it('logout, endAll, and a session ended from the list of another', async () => {
    const [one, two, three] = [await remembered(), await remembered(), await remembered()];
    await one.agent.fetch(`${here.url}/auth/logout`, { method: 'POST' });
    expect(await askThere(one.cookie)).toBe(401);
    await two.agent.fetch(`${here.url}/auth/sessions/${three.me.session.id}`, { method: 'DELETE' });
    expect([await askThere(three.cookie), typeof (await askThere(two.cookie))]).toEqual([401, 'object']);
    await here.app.get(SessionService).endAll(two.me.user.id);
    expect(await askThere(two.cookie)).toBe(401);
  });

  it('a grant that is no more: the session has no scope left', async () => {
    const { cookie, me } = await remembered();
    expect(me.session.scope.length).toBeGreaterThan(0);
    await database.query(`delete from oauth_grants where id = (select grant_id from oauth_sessions where id = $1)`, [
      me.session.id,
    ]);
    expect(await askThere(cookie)).toMatchObject({ session: { scope: [] } });
  });
});
