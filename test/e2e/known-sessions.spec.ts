// What a process remembers of sessions never answers by itself: whatever changed or ended, by whomever, shows in the next
// request.
import { setImmediate } from 'node:timers/promises';
import pg from 'pg';
import { sha256 } from '../../src/crypto/digest.js';
import { SessionService } from '../../src/index.js';
import { KnownSessions } from '../../src/sessions/known-sessions.service.js';
import { SessionTouches } from '../../src/sessions/session-touches.js';
import { LookupRepository } from '../../src/sessions/lookup.repository.js';
import { SessionRepository } from '../../src/sessions/session.repository.js';
import { WebRequest } from '../../src/sessions/web-request.js';
import { FakeProvider } from '../../src/testing/index.js';
import { oidcOf, platforms, type RunningApp, startApp } from '../support/app.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { UserAgent } from '../support/user-agent.js';

interface Me {
  user: { profile: { name: string } };
  session: { id: string; acr: string | null; scope: string[] };
}

describe.each(platforms)('sessions read before, on %s', (platform) => {
  let database: TestDatabase;
  let provider: FakeProvider;
  let app: RunningApp;
  let repository: LookupRepository;
  /** Sessions read and sessions checked, query by query. */
  let asked: [kind: 'read' | 'check', sessions: number][];

  beforeAll(async () => {
    [database, provider] = await Promise.all([createTestDatabase(), FakeProvider.start()]);
    app = await startApp({
      platform,
      database: database.url,
      providers: [oidcOf(provider), oidcOf(provider, { name: 'own', grant: 'session' })],
    });
    repository = app.app.get(LookupRepository, { strict: false });
    const [read, check] = [repository.findLive.bind(repository), repository.check.bind(repository)];
    repository.findLive = (hashes, within, told) => (asked.push(['read', hashes.length]), read(hashes, within, told));
    repository.check = (hashes, given, told) => (asked.push(['check', hashes.length]), check(hashes, given, told));
  });
  beforeEach(() => {
    provider.reset();
    asked = [];
  });
  afterAll(async () => {
    await app?.close();
    await provider?.close();
    await database?.drop();
  });

  async function login(sub: string, claims: object = {}, name = 'fake'): Promise<UserAgent> {
    const agent = new UserAgent();
    provider.user({ sub, ...claims });
    await agent.navigate(`${app.url}/auth/${name}/login?returnTo=/me`);
    asked = [];
    return agent;
  }
  const get = (agent: UserAgent) => agent.fetch(`${app.url}/me`);
  const me = async (agent: UserAgent) => (await get(agent)).json<Me>();
  const hash = (agent: UserAgent) => sha256(agent.cookie('oauth_session')!);
  const change = (agent: UserAgent, set: string) =>
    database.query(`update oauth_sessions set ${set} where token_hash = $1`, [hash(agent)]);

  it('are checked, and read again only when they have changed', async () => {
    const agent = await login('a');
    for (let i = 0; i < 3; i++) expect((await get(agent)).status).toBe(200);
    expect(asked).toEqual([['check', 1], ['check', 1], ['check', 1]]); // prettier-ignore
    asked = [];
    await change(agent, `acr = 'gold'`);
    expect((await me(agent)).session.acr).toBe('gold');
    expect((await me(agent)).session.acr).toBe('gold');
    expect(asked).toEqual([['check', 1], ['read', 1], ['check', 1]]); // prettier-ignore
  });

  it('are not read again because their use was written down, unless somebody else changed them before that', async () => {
    const agent = await login('touched');
    const touches = app.app.get(SessionTouches, { strict: false });
    const used = async (): Promise<void> => {
      await change(agent, `last_seen_at = now() - interval '2 hours'`);
      await get(agent);
      asked = [];
    };
    await used();
    await touches.flush();
    expect((await get(agent)).status).toBe(200);
    expect(asked).toEqual([['check', 1]]);
    const [row] = await database.query<{ fresh: boolean }>(
      `select last_seen_at > now() - interval '1 minute' as fresh from oauth_sessions where token_hash = $1`,
      [hash(agent)],
    );
    expect(row).toEqual({ fresh: true });
    await used();
    await change(agent, `acr = 'changed before the touch'`);
    await touches.flush();
    expect((await me(agent)).session.acr).toBe('changed before the touch');
    await used();
    await touches.flush();
    await change(agent, `acr = 'changed after the touch'`);
    expect((await me(agent)).session.acr).toBe('changed after the touch');
  });

  it('end with the next request: deleted, expired or idle for too long', async () => {
    const sql = ['expires_at = now()', 'idle_expires_at = now()'].map(
      (set) => (agent: UserAgent) => change(agent, set),
    );
    const remove = (agent: UserAgent) =>
      database.query('delete from oauth_sessions where token_hash = $1', [hash(agent)]);
    for (const end of [...sql, remove]) {
      const agent = await login('ending');
      expect((await get(agent)).status).toBe(200);
      await end(agent);
      expect((await get(agent)).status).toBe(401);
    }
  });

  it('show at once what another login changed of the profile, and what anybody changed of the grant', async () => {
    const agent = await login('shown', { name: 'Before' });
    expect((await me(agent)).user.profile.name).toBe('Before');
    await login('shown', { name: 'After' });
    expect((await me(agent)).user.profile.name).toBe('After');
    const before = (await me(agent)).session.scope;
    await database.query(
      `update oauth_grants set scope = scope || '{extra}' where id = (select grant_id from oauth_sessions where token_hash = $1)`,
      [hash(agent)],
    );
    expect((await me(agent)).session.scope).toEqual([...before, 'extra']);
  });

  it.each(['fake', 'own'])(
    'are written anew only by a login that changes the profile, and has no grant in common (%s)',
    async (name) => {
      const agent = await login(name, { name: 'Same' }, name);
      const version = async () =>
        (await database.query('select xmin::text from oauth_sessions where token_hash = $1', [hash(agent)]))[0];
      const before = await version();
      await login(name, { name: 'Same' }, name);
      expect(await version()).toEqual(before);
      expect((await me(agent)).user.profile.name).toBe('Same');
      await login(name, { name: 'Other' }, name);
      expect((await me(agent)).user.profile.name).toBe('Other');
      // A shared grant is written by each login, and says it for all of its sessions.
      if (name === 'fake') expect(await version()).toEqual(before);
      else expect(await version()).not.toEqual(before);
    },
  );

  it('are told apart in one turn: known, changed, ended and new ones, each with its own answer', async () => {
    const agents = await Promise.all(['k', 'c', 'e', 'n'].map((sub) => Promise.resolve(sub)));
    const [known, changed, ended, fresh] = [
      await login(agents[0]!),
      await login(agents[1]!),
      await login(agents[2]!),
      await login(agents[3]!),
    ];
    await change(changed, `acr = 'gold'`);
    await database.query('delete from oauth_sessions where token_hash = $1', [hash(ended)]);
    app.app.get(KnownSessions, { strict: false }).forget(hash(fresh).toString('base64'));
    const service = app.app.get(SessionService);
    const ask = async (agent: UserAgent) =>
      (
        await service.ofRequest(
          new WebRequest({ headers: { cookie: `oauth_session=${agent.cookie('oauth_session')}` } }),
        )
      ).session;
    // The first does not wait for the others after one that came alone.
    await ask(known);
    asked.length = 0;
    const answers = await Promise.all([known, changed, ended, fresh, known].map(ask));
    expect(answers.map((session) => session && [session.user.subject, session.acr])).toEqual([
      ['k', null],
      ['c', 'gold'],
      null,
      ['n', null],
      ['k', null],
    ]);
    expect(asked.map(([kind, sessions]) => `${kind} ${sessions}`).sort()).toEqual([
      'check 1',
      'check 3',
      'read 1',
      'read 1',
    ]);
    // What a handler makes of its own copy, no other request sees.
    (answers[0]!.user.profile as { name?: string }).name = 'Mallory';
    expect(answers[4]!.user.profile.name).not.toBe('Mallory');
    expect((await ask(known))!.user.profile.name).not.toBe('Mallory');
  });

  it('with little idle time left are extended by the next request when somebody held the row of a touch', async () => {
    const agent = await login('nearly idle');
    await change(agent, `last_seen_at = now() - interval '1 hour', idle_expires_at = now() + interval '40 seconds'`);
    const left = async () =>
      (
        await database.query<{ left: number }>(
          `select extract(epoch from idle_expires_at - now())::float as left from oauth_sessions where token_hash = $1`,
          [hash(agent)],
        )
      )[0]!.left;
    const touched: ReturnType<SessionRepository['touch']>[] = [];
    const sessions = app.app.get(SessionRepository, { strict: false });
    const touch = sessions.touch.bind(sessions);
    sessions.touch = (...given) => {
      touched.push(touch(...given));
      return touched.at(-1)!;
    };
    const holder = new pg.Client({ connectionString: database.url });
    await holder.connect();
    try {
      await holder.query('begin');
      await holder.query('select 1 from oauth_sessions where token_hash = $1 for update', [hash(agent)]);
      expect((await get(agent)).status).toBe(200);
      await Promise.all(touched);
      await holder.query('rollback');
      expect([touched.length, await left()]).toEqual([1, expect.any(Number)]);
      expect(await left()).toBeLessThan(40);
      await setImmediate();
      expect((await get(agent)).status).toBe(200);
      await Promise.all(touched);
      expect(await left()).toBeGreaterThan(3600);
      // Once is enough.
      expect((await get(agent)).status).toBe(200);
      expect(touched).toHaveLength(2);
    } finally {
      await holder.end();
      sessions.touch = touch;
    }
  });

  it('let nobody in while the check fails', async () => {
    const agent = await login('failing');
    const check = repository.check;
    repository.check = (_hashes, _within, told) => told(Object.assign(new Error('lost'), { code: 'ECONNRESET' }));
    try {
      expect((await get(agent)).status).toBeGreaterThanOrEqual(500);
    } finally {
      repository.check = check;
    }
    expect((await get(agent)).status).toBe(200);
  });
});
