// The preset `github()` against a double that answers as GitHub does.
import { TEST_KEY, MeController, type RunningApp, startApp, freePort } from '../support/app.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { type GithubDouble, startGithubDouble } from '../support/github-double.js';
import { UserAgent } from '../support/user-agent.js';
import { github, type GitHubOptions, OAuthEvents } from '../../src/index.js';

const CLIENT = { clientId: 'an-id', clientSecret: 'a-secret/with+odd:signs' };

describe('github()', () => {
  let database: TestDatabase;
  let hub: GithubDouble;
  let app: RunningApp;

  beforeAll(async () => {
    const port = await freePort();
    const redirectUri = `http://localhost:${port}/auth/github/callback`;
    [database, hub] = await Promise.all([createTestDatabase(), startGithubDouble({ ...CLIENT, redirectUri })]);
    app = await start(port);
    MeController.apiUrl = `${hub.apiUrl}/user`;
  });
  afterAll(async () => {
    await app?.close();
    await hub?.close();
    await database?.drop();
  });
  beforeEach(() => {
    hub.signedInAs = hub.users[0];
    hub.requests.length = 0;
  });

  it('A-010 asks for what is needed, with state and PKCE, and takes the verified primary address', async () => {
    const agent = new UserAgent();
    const landed = await agent.navigate(`${app.url}/auth/github/login?returnTo=/me`);
    expect([landed.status, landed.url]).toEqual([200, `${app.url}/me`]);
    expect(JSON.parse(landed.body)).toMatchObject({
      user: {
        provider: 'github',
        subject: '583231',
        profile: {
          name: 'The Octocat',
          username: 'octocat',
          email: 'octocat@github.com',
          emailVerified: true,
          picture: 'https://avatars.githubusercontent.com/u/583231?v=4',
        },
      },
      // GitHub's answer says `read:user,user:email`.
      session: { provider: 'github', scope: ['read:user', 'user:email'] },
    });
    const [authorize] = hub.requestsTo('/login/oauth/authorize');
    expect(authorize!.query).toMatchObject({
      response_type: 'code',
      scope: 'read:user user:email',
      code_challenge_method: 'S256',
      code_challenge: expect.stringMatching(/^[\w-]{43}$/),
      state: expect.stringMatching(/^[\w-]{43}$/),
    });
    expect(authorize!.query).not.toHaveProperty('nonce');
    const [token] = hub.requestsTo('/login/oauth/access_token');
    expect(token!.body).toMatchObject({
      code_verifier: expect.stringMatching(/^[\w-]{43,128}$/),
      client_secret: CLIENT.clientSecret,
    });
    expect(
      hub.requests
        .filter(({ path }) => path.startsWith('/user'))
        .every(({ headers }) => Boolean(headers['user-agent'])),
    ).toBe(true);
  });

  it('E-026 uses a token without a lifetime for good, and never tries to refresh it', async () => {
    const agent = await loggedIn();
    for (let call = 0; call < 3; call++)
      expect(await api(agent)).toMatchObject({ status: 200, body: { login: 'octocat' } });
    expect(hub.requestsTo('/login/oauth/access_token')).toHaveLength(1);
    const [row] = await database.query<{ expires_at: Date | null }>(
      'select expires_at from oauth_access_tokens order by issued_at desc limit 1',
    );
    expect(row).toEqual({ expires_at: null });
  });

  it('A-044 hands out a 401 of the API as it is, where nothing can be refreshed', async () => {
    const agent = await loggedIn();
    hub.tokens.clear();
    expect(await api(agent)).toMatchObject({ status: 401, body: { message: 'Bad credentials' } });
    expect(hub.requestsTo('/login/oauth/access_token')).toHaveLength(1);
  });

  it('A-038 recognises a refused code, although GitHub says 200', async () => {
    const agent = new UserAgent();
    const away = await agent.navigate(`${app.url}/auth/github/login`, { followRedirects: false });
    const back = await agent.navigate(away.headers.get('location')!, { followRedirects: false });
    const callback = new URL(back.headers.get('location')!);
    callback.searchParams.set('code', 'wrong');
    const answer = await agent.navigate(callback.href, { from: hub.url });
    const [exchange] = hub.requestsTo('/login/oauth/access_token');
    expect([exchange!.status, answer.status]).toEqual([200, 400]);
    expect(answer.body).toContain('code_refused');
    expect(agent.cookie('oauth_session')).toBeUndefined();
  });

  it('A-038 recognises that it is refused itself, although GitHub says 200', async () => {
    const port = await freePort();
    const redirectUri = `http://localhost:${port}/auth/github/callback`;
    await using strict = await startGithubDouble({ ...CLIENT, clientSecret: 'another', redirectUri });
    await using other = await start(port, { webUrl: strict.url, apiUrl: strict.apiUrl });
    const agent = new UserAgent();
    const answer = await agent.navigate(`${other.url}/auth/github/login`);
    expect(strict.requestsTo('/login/oauth/access_token')).toMatchObject([{ status: 200 }]);
    expect(answer.status).toBe(502);
    expect(answer.body).toContain('client_rejected');
    expect(agent.cookie('oauth_session')).toBeUndefined();
  });

  it('says that the person said no', async () => {
    hub.signedInAs = undefined;
    const answer = await new UserAgent().navigate(`${app.url}/auth/github/login?returnTo=/me`);
    expect(answer.status).toBe(403);
    expect(answer.body).toContain('access_denied');
  });

  it.each([
    [
      'an address that is not verified',
      { emails: [{ email: 'cat@example.com', primary: true, verified: false, visibility: null }] },
    ],
    [
      'a verified address that is not the primary one',
      { emails: [{ email: 'cat@example.com', primary: false, verified: true, visibility: null }] },
    ],
    ['the public address of the profile, which nobody has verified', { email: 'cat@example.com', emails: [] }],
    ['no address at all', {}],
  ])('C-021 does not take %s', async (_what, facts) => {
    hub.signedInAs = { id: 7, login: 'cat', ...facts };
    const agent = new UserAgent();
    const landed = await agent.navigate(`${app.url}/auth/github/login?returnTo=/me`);
    expect(JSON.parse(landed.body)).toMatchObject({
      user: { subject: '7', profile: { name: 'cat', email: null, emailVerified: false } },
    });
  });

  it('C-022 knows a person by the number, whatever the login name', async () => {
    hub.signedInAs = { id: 99, login: 'old-name' };
    const before = await whoAmI(await loggedIn());
    hub.signedInAs = { id: 99, login: 'new-name' };
    const after = await whoAmI(await loggedIn());
    hub.signedInAs = { id: 100, login: 'old-name' };
    const stranger = await whoAmI(await loggedIn());
    expect(after.id).toBe(before.id);
    expect(after.profile.username).toBe('new-name');
    expect(stranger.id).not.toBe(before.id);
  });

  it('A-068 revokes the token by GitHub’s own API when the last session logs out', async () => {
    hub.signedInAs = { id: 2026, login: 'leaver' };
    const [one, two] = [await loggedIn(), await loggedIn()];
    const mine = () => [...hub.tokens.values()].filter(({ user }) => user.id === 2026).length;
    expect(mine()).toBe(2);
    await one.fetch(`${app.url}/auth/logout`, { method: 'POST' });
    expect(await api(two)).toMatchObject({ status: 200 });
    await two.fetch(`${app.url}/auth/logout`, { method: 'POST' });
    await until(() => hub.requestsTo('/applications/an-id/token').length > 0);
    const [revocation] = hub.requestsTo('/applications/an-id/token');
    expect(revocation).toMatchObject({ method: 'DELETE', status: 204 });
    expect(mine()).toBeLessThan(2);
  });

  describe('with a GitHub App, whose tokens expire and come with a refresh token', () => {
    let own: TestDatabase;
    let expiring: GithubDouble;
    let site: RunningApp;
    const revoked: unknown[] = [];

    beforeAll(async () => {
      const port = await freePort();
      const redirectUri = `http://localhost:${port}/auth/github/callback`;
      [own, expiring] = await Promise.all([
        createTestDatabase(),
        startGithubDouble({ ...CLIENT, redirectUri, expiringTokens: true }),
      ]);
      site = await start(port, { webUrl: expiring.url, apiUrl: expiring.apiUrl }, own);
      site.app.get(OAuthEvents).on('revoked', (event) => revoked.push(event));
    });
    afterAll(async () => {
      await site?.close();
      await expiring?.close();
      await own?.drop();
    });
    beforeEach(async () => {
      for (const list of [expiring.requests, revoked]) list.length = 0;
      for (const map of [expiring.tokens, expiring.refreshTokens]) map.clear();
      await own.query('delete from oauth_accounts');
    });

    /** Logs in, and logs out again. @param between given the id of the grant */
    async function comeAndGo(between?: (grantId: string) => Promise<unknown>): Promise<void> {
      const agent = new UserAgent();
      expect((await agent.navigate(`${site.url}/auth/github/login?returnTo=/me`)).status).toBe(200);
      expect([...expiring.refreshTokens.keys()]).toEqual([expect.stringMatching(/^ghr_/)]);
      const [grant] = await own.query<{ id: string }>('select id from oauth_grants where refresh_token is not null');
      await between?.(grant!.id);
      await agent.fetch(`${site.url}/auth/logout`, { method: 'POST' });
      expect(await own.query('select status, refresh_token from oauth_grants')).toEqual([
        { status: 'revoked', refresh_token: null },
      ]);
    }

    async function expire(): Promise<void> {
      await own.query(`update oauth_access_tokens set expires_at = now() - interval '1 second'`);
    }

    async function outboxIsEmpty(): Promise<void> {
      await until(async () => (await own.query('select 1 from oauth_revocations')).length === 0);
    }

    it('A-068 revokes the access token, for GitHub’s API takes no refresh token', async () => {
      await comeAndGo();
      await outboxIsEmpty();
      await until(() => revoked.length > 0);
      expect(expiring.requestsTo('/applications/an-id/token')).toMatchObject([
        { method: 'DELETE', status: 204, body: { access_token: expect.stringMatching(/^ghu_/) } },
      ]);
      expect(expiring.tokens.size).toBe(0);
      expect(revoked).toEqual([{ provider: 'github' }]);
    });

    it('A-068 revokes the access token of the last refresh', async () => {
      await comeAndGo(async (grantId) => {
        await expire();
        expect((await site.tokens.getAccessToken(grantId)).value).toMatch(/^ghu_/);
        expect(expiring.requestsTo('/login/oauth/access_token')).toHaveLength(2);
      });
      await until(() => revoked.length > 0);
      expect(expiring.tokens.size).toBe(0);
    });

    it('A-068 claims nothing where the access token has expired, and sends no refresh token', async () => {
      await comeAndGo(async () => {
        await expire();
        // As an earlier version put it there.
        await own.query(
          `insert into oauth_revocations (id, provider, issuer, subject, token, hint, expires_at)
           select gen_random_uuid(), g.provider, a.issuer, a.subject, g.refresh_token, 'refresh_token', now() + interval '1 day'
           from oauth_grants g join oauth_accounts a on a.id = g.account_id`,
        );
      });
      await outboxIsEmpty();
      await new Promise((done) => setTimeout(done, 100));
      expect(expiring.requestsTo('/applications/an-id/token')).toEqual([]);
      expect(revoked).toEqual([]);
    });
  });

  it('asks for no addresses without their scope', async () => {
    await using own = await startGithubDouble({ ...CLIENT, redirectUri: 'http://localhost' });
    const definition = github({ ...CLIENT, webUrl: own.url, apiUrl: own.apiUrl, scope: ['read:user'] });
    const asked: string[] = [];
    const profile = await definition.profile!({
      ...{ claims: {}, userinfo: null, scope: ['read:user'], accessToken: 't', fetch },
      json: (url) => {
        asked.push(url);
        return Promise.resolve({ id: 1, login: 'a' });
      },
    });
    expect(asked).toEqual([`${own.apiUrl}/user`]);
    expect(profile).toMatchObject({ subject: 1, email: null, emailVerified: false });
  });

  async function start(port: number, options: Partial<GitHubOptions> = {}, on = database): Promise<RunningApp> {
    return startApp({
      ...{
        database: on.url,
        port,
        providers: [github({ ...CLIENT, webUrl: hub.url, apiUrl: hub.apiUrl, ...options })],
      },
      oauth: { encryption: { keys: [{ id: 'test', secret: TEST_KEY }] } },
    });
  }

  async function loggedIn(): Promise<UserAgent> {
    const agent = new UserAgent();
    expect((await agent.navigate(`${app.url}/auth/github/login?returnTo=/me`)).status).toBe(200);
    return agent;
  }

  async function api(agent: UserAgent): Promise<unknown> {
    return JSON.parse((await agent.fetch(`${app.url}/me/api`)).body) as unknown;
  }

  async function whoAmI(agent: UserAgent): Promise<{ id: string; profile: { username: string } }> {
    const { user } = JSON.parse((await agent.fetch(`${app.url}/me`)).body) as {
      user: { id: string; profile: { username: string } };
    };
    return user;
  }
});

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  for (let tries = 0; !(await condition()); tries++) {
    if (tries > 200) throw new Error('it never happened');
    await new Promise((done) => setTimeout(done, 50));
  }
}
