// onLogin: who decides which user it is, and what happens when it misbehaves.
import { setTimeout as sleep } from 'node:timers/promises';
import { LoginRefusedError, type OAuthLogin, OAuthEvents } from '../../src/index.js';
import { platforms } from '../support/app.js';
import { codeOf, type LoginFixture, startLogin } from '../support/login-fixture.js';

describe.each(platforms)('onLogin on %s', (platform) => {
  let at: LoginFixture;
  let onLogin: (login: OAuthLogin) => unknown;
  let failures: { code: string }[];

  beforeAll(async () => {
    at = await startLogin({ platform, oauth: { onLogin: (login) => onLogin(login) as string } });
    failures = [];
    at.app.app.get(OAuthEvents).on('loginFailed', (event) => failures.push(event));
  });
  afterAll(() => at?.close());
  beforeEach(() => {
    at.provider.reset();
    failures.length = 0;
    onLogin = () => 'user-42';
  });

  it('names the user, and is told everything but tokens', async () => {
    const logins: OAuthLogin[] = [];
    onLogin = (login) => {
      logins.push(login);
      return 'user-42';
    };
    at.provider.user({ sub: 'first', name: 'First', email: 'f@example.com' });
    const agent = at.agent();
    await at.login(agent);
    expect((await agent.fetch(`${at.app.url}/me`)).json()).toMatchObject({ user: { id: 'user-42', subject: 'first' } });
    expect(logins[0]).toMatchObject({
      provider: 'fake',
      issuer: at.provider.issuer,
      subject: 'first',
      profile: { name: 'First', email: 'f@example.com', emailVerified: false },
      account: null,
      currentUser: null,
    });
    await at.login(agent);
    expect(logins[1]).toMatchObject({ account: { userId: 'user-42' }, currentUser: { id: 'user-42' } });
    for (const { value } of at.provider.issued) expect(JSON.stringify(logins)).not.toContain(value);
  });

  it.each([
    ['nothing', () => undefined],
    ['null', () => null],
    ['an empty text', () => ''],
    ['a number', () => 42],
    ['an object', () => ({ id: 'x' })],
    ['a text that Postgres cannot store', () => 'a\u0000b'],
    ['a text that is no Unicode', () => 'a\ud800'],
    ['a text of 1,025 bytes', () => 'ü'.repeat(512) + 'x'],
    ['a text of 12,000 characters', () => 'x'.repeat(12_000)],
    ['a rejected promise', () => Promise.reject(new Error('canary-of-the-application'))],
    [
      'an exception',
      () => {
        throw new TypeError('canary-of-the-application');
      },
    ],
  ])('fails the login on %s: 500, no row, tokens revoked', async (what, misbehave) => {
    onLogin = misbehave;
    at.provider.user({ sub: `odd-${what}` });
    const before = [await at.count('oauth_accounts'), await at.count('oauth_grants'), await at.count('oauth_sessions')];
    const agent = at.agent();
    const answer = await at.login(agent);
    expect([answer.status, codeOf(answer)]).toEqual([500, 'server_error']);
    expect(answer.body).not.toContain('canary');
    expect([
      await at.count('oauth_accounts'),
      await at.count('oauth_grants'),
      await at.count('oauth_sessions'),
    ]).toEqual(before);
    for (let wait = 0; wait < 200 && at.provider.revocations.length < 2; wait++) await sleep(50);
    expect(at.provider.revocations).toHaveLength(2);
    expect(failures).toEqual([expect.objectContaining({ code: 'server_error' })]);
    expect(await at.status(agent)).toBe(401);
  });

  it('takes a user id of 1,024 bytes', async () => {
    onLogin = () => 'ü'.repeat(512);
    at.provider.user({ sub: 'long-id' });
    const agent = at.agent();
    expect((await at.login(agent)).status).toBe(303);
    expect(await at.status(agent)).toBe(200);
  });

  it('refuses a person in the words of the application, escaped', async () => {
    onLogin = () => {
      throw new LoginRefusedError('Only <b>members</b> & "friends"');
    };
    at.provider.user({ sub: 'refused' });
    const answer = await at.login(at.agent());
    expect([answer.status, codeOf(answer)]).toEqual([403, 'login_refused']);
    expect(answer.body).toContain('Only &#60;b&#62;members&#60;/b&#62; &#38; &#34;friends&#34;');
    expect(failures).toEqual([expect.objectContaining({ code: 'login_refused' })]);
  });

  it('fails when it names another user for a known account', async () => {
    at.provider.user({ sub: 'constant' });
    onLogin = () => 'one';
    await at.login(at.agent());
    onLogin = () => 'two';
    const answer = await at.login(at.agent());
    expect([answer.status, codeOf(answer)]).toEqual([403, 'account_conflict']);
    const rows = await at.database.query(`select user_id from oauth_accounts where subject = 'constant'`);
    expect(rows).toEqual([{ user_id: 'one' }]);
  });

  it('may be slow: a second callback waits for it, and nothing is held meanwhile', async () => {
    let calls = 0;
    onLogin = async () => {
      calls++;
      await sleep(700);
      return 'user-42';
    };
    const agent = at.agent();
    at.provider.user({ sub: 'first' });
    const url = await at.untilCallback(agent, '?returnTo=/me');
    const both = [at.callback(agent, url), at.callback(agent, url)];
    await sleep(350);
    const [held] = await at.database.query<{ n: number }>(
      `select count(*)::int as n from pg_stat_activity where datname = current_database() and state like 'idle in transaction%'`,
    );
    expect(held!.n).toBe(0);
    expect((await Promise.all(both)).map((answer) => answer.status)).toEqual([303, 303]);
    expect(calls).toBe(1);
  });

  it('C-021 C-022 goes by issuer and subject: neither e-mail nor name makes two people one', async () => {
    const seen = new Map<string, string>();
    onLogin = ({ subject, account }) => account?.userId ?? `user-of-${subject}`;
    for (const sub of ['x1', 'x2', 'X1', 'x1 ']) {
      at.provider.user({ sub, name: 'Same', email: 'same@example.com' });
      const agent = at.agent();
      await at.login(agent);
      const { user } = (await agent.fetch(`${at.app.url}/me`)).json<{
        user: { id: string; profile: { emailVerified: boolean } };
      }>();
      seen.set(sub, user.id);
      expect(user.profile.emailVerified).toBe(false);
    }
    expect(new Set(seen.values()).size).toBe(4);
    at.provider.user({ sub: 'x1', name: 'Renamed' });
    const agent = at.agent();
    await at.login(agent);
    expect((await agent.fetch(`${at.app.url}/me`)).json()).toMatchObject({ user: { id: seen.get('x1') } });
  });

  it('D-020 one event for a login, one for a failure, one for a logout, none with a secret', async () => {
    const events: object[] = [];
    const all = at.app.app.get(OAuthEvents);
    const stop = (['login', 'loginFailed', 'logout'] as const).map((name) =>
      all.on(name, (event) => events.push({ name, ...event })),
    );
    const agent = at.agent();
    at.provider.user({ sub: 'eventful' });
    onLogin = () => 'eventful';
    await at.login(agent);
    await agent.fetch(`${at.app.url}/auth/logout`, { method: 'POST' });
    at.provider.tamper('idToken', (claims) => ({ ...claims, nonce: 'x' }));
    const url = await at.untilCallback(agent);
    await at.callback(agent, url);
    await at.callback(at.agent(), url);
    expect(events).toEqual([
      expect.objectContaining({ name: 'login', userId: 'eventful', firstLogin: true, issuer: at.provider.issuer }),
      expect.objectContaining({ name: 'logout', userId: 'eventful', by: 'user' }),
      expect.objectContaining({ name: 'loginFailed', code: 'invalid_id_token' }),
      expect.objectContaining({ name: 'loginFailed', code: 'cookies_blocked' }),
    ]);
    const secrets = [
      ...at.provider.issued.map(({ value }) => value),
      ...agent.history.flatMap((hop) => hop.setCookies.map((cookie) => cookie.split(/[=;]/)[1]!)),
    ];
    for (const secret of secrets.filter((value) => value !== '')) expect(JSON.stringify(events)).not.toContain(secret);
    stop.forEach((end) => end());
  });
});
