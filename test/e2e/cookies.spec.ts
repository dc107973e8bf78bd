// The two cookies, exactly, on https and on loopback; and what happens to others of nearly the same name.
import { platforms } from '../support/app.js';
import { type LoginFixture, startLogin } from '../support/login-fixture.js';

const ORIGIN = 'https://app.example';
const TOKEN = '[A-Za-z0-9_-]{43}';

describe.each(platforms)('cookies on %s', (platform) => {
  let at: LoginFixture;
  let plain: LoginFixture;

  beforeAll(async () => {
    [at, plain] = await Promise.all([startLogin({ platform, baseUrl: ORIGIN }), startLogin({ platform })]);
  });
  afterAll(async () => {
    await at?.close();
    await plain?.close();
  });

  it('D-013 D-002 are exact on https', async () => {
    const agent = at.agent();
    const start = await agent.navigate(`${ORIGIN}/auth/fake/login`, { followRedirects: false });
    expect(start.setCookies).toEqual([
      expect.stringMatching(
        `^__Host-oauth_browser=${TOKEN}; Path=/; Max-Age=34560000; HttpOnly; SameSite=Lax; Secure$`,
      ),
    ]);
    const end = await at.callback(agent, await at.consent(start.headers.get('location')!));
    expect(end.setCookies).toEqual([
      expect.stringMatching(`^__Host-oauth_session=${TOKEN}; Path=/; Max-Age=\\d+; HttpOnly; SameSite=Lax; Secure$`),
    ]);
    expect(agent.history.flatMap((hop) => hop.refusedCookies)).toEqual([]);
    const out = await agent.fetch(`${ORIGIN}/auth/logout`, { method: 'POST' });
    expect(out.setCookies).toEqual([
      '__Host-oauth_session=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax; Secure',
      expect.stringMatching(
        `^__Host-oauth_browser=${TOKEN}; Path=/; Max-Age=34560000; HttpOnly; SameSite=Lax; Secure$`,
      ),
    ]);
  });

  it('D-013 are without prefix and not Secure on http loopback', async () => {
    const agent = plain.agent();
    await plain.login(agent);
    const all = agent.history.flatMap((hop) => hop.setCookies);
    expect(all).toEqual([
      expect.stringMatching(`^oauth_browser=${TOKEN}; Path=/; Max-Age=34560000; HttpOnly; SameSite=Lax$`),
      expect.stringMatching(`^oauth_session=${TOKEN}; Path=/; Max-Age=\\d+; HttpOnly; SameSite=Lax$`),
    ]);
    expect(agent.history.flatMap((hop) => hop.refusedCookies)).toEqual([]);
  });

  it('D-015 thirty logins in parallel tabs need one cookie, and all finish', async () => {
    const agent = at.agent();
    await at.begin(agent);
    const urls = await Promise.all(Array.from({ length: 30 }, () => at.untilCallback(agent)));
    const answers = await Promise.all(urls.map((url) => at.callback(agent, url)));
    expect(answers.map((answer) => answer.status)).toEqual(answers.map(() => 303));
    const size = agent.cookies.reduce((sum, { name, value }) => sum + name.length + value.length + 3, 0);
    expect(agent.cookies).toHaveLength(2);
    expect(size).toBeLessThan(4096);
  });

  it('D-015 a malformed browser cookie is replaced, not stored', async () => {
    for (const value of ['x', '', `${'A'.repeat(42)}B`, '"quoted"', '%00', 'x'.repeat(3000)]) {
      const answer = await at.agent().request({
        url: `${ORIGIN}/auth/fake/login`,
        headers: { cookie: `__Host-oauth_browser=${value}` },
      });
      expect(answer.status).toBe(302);
      expect(answer.setCookies).toEqual([expect.stringMatching(`^__Host-oauth_browser=${TOKEN};`)]);
    }
  });

  it('the browser cookie stays through logins, and is new after logout and when another user logs in', async () => {
    const agent = at.agent();
    const browser = () => agent.cookie('__Host-oauth_browser');
    at.provider.user({ sub: 'first' });
    await at.login(agent);
    const initial = browser();
    await at.login(agent);
    expect(browser()).toBe(initial);
    const pending = await at.untilCallback(agent);
    at.provider.user({ sub: 'second' });
    await at.login(agent);
    const rotated = browser();
    expect(rotated).not.toBe(initial);
    // What the first user had pending must not be finished by the second.
    expect((await at.callback(agent, pending)).status).toBe(400);
    await agent.fetch(`${ORIGIN}/auth/logout`, { method: 'POST' });
    expect(browser()).not.toBe(rotated);
    at.provider.reset();
  });

  it('C-020 E-052 the old session ends when another user logs in on the same browser', async () => {
    const agent = at.agent();
    at.provider.user({ sub: 'alice' });
    await at.login(agent);
    const old = agent.cookie('__Host-oauth_session')!;
    const [before] = await at.database.query(`select id from oauth_sessions order by created_at desc limit 1`);
    at.provider.user({ sub: 'bob' });
    await at.login(agent);
    const me = await agent.fetch(`${ORIGIN}/me`);
    expect(me.json()).toMatchObject({ user: { subject: 'bob' } });
    const copied = await at
      .agent()
      .request({ url: `${ORIGIN}/me`, headers: { cookie: `__Host-oauth_session=${old}` } });
    expect(copied.status).toBe(401);
    expect(await at.database.query(`select 1 from oauth_sessions where id = $1`, [before!.id])).toEqual([]);
    at.provider.reset();
  });

  it('C-001 D-003 a session id never survives a login, and none is adopted from the client', async () => {
    const live = at.agent();
    await at.login(live);
    const invented = 'A'.repeat(43);
    for (const planted of [invented, live.cookie('__Host-oauth_session')!]) {
      const agent = at.agent();
      agent.jar.plant({ name: '__Host-oauth_session', value: planted, domain: 'app.example', secure: true });
      await at.login(agent);
      const first = agent.cookie('__Host-oauth_session')!;
      expect(first).not.toBe(planted);
      await at.login(agent);
      const second = agent.cookie('__Host-oauth_session')!;
      expect(second).not.toBe(first);
      for (const dead of [planted, first]) {
        const answer = await at
          .agent()
          .request({ url: `${ORIGIN}/me`, headers: { cookie: `__Host-oauth_session=${dead}` } });
        expect(answer.status).toBe(401);
      }
      expect(await at.status(agent)).toBe(200);
    }
  });

  it('C-015 D-005 D-039 expired, garbled and nearly right cookies: 401, and the cookie is cleared', async () => {
    const agent = at.agent();
    await at.login(agent);
    const good = agent.cookie('__Host-oauth_session')!;
    const last = good.at(-1)!;
    const alike = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
    const twin = alike[alike.indexOf(last) + 1]!;
    const dead = [
      good.slice(0, -1) + twin,
      `${good}=`,
      `${good}==`,
      good.slice(1),
      `${good}A`,
      `"${good}"`,
      ` ${good}x`,
      encodeURIComponent(`${good}\u0000`),
      'null',
      '%',
      '\u00ff',
    ];
    for (const value of dead) {
      const answer = await at
        .agent()
        .request({ url: `${ORIGIN}/me`, headers: { cookie: `__Host-oauth_session=${value}` } });
      expect([value, answer.status]).toEqual([value, 401]);
      expect(answer.setCookies).toEqual(['__Host-oauth_session=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax; Secure']);
    }
    await at.database.query(`update oauth_sessions set idle_expires_at = now() - interval '1 second'`);
    const expired = await agent.fetch(`${ORIGIN}/me`);
    expect(expired.status).toBe(401);
    expect(agent.cookie('__Host-oauth_session')).toBeUndefined();
  });

  it('C-024 two session or browser cookies in one header count as none', async () => {
    const agent = at.agent();
    const url = await at.untilCallback(agent);
    const browser = agent.cookie('__Host-oauth_browser')!;
    for (const cookie of [
      `__Host-oauth_browser=${browser}; __Host-oauth_browser=${browser}`,
      `__Host-oauth_browser=x; __Host-oauth_browser=${browser}`,
    ]) {
      expect((await agent.request({ url: url.href, headers: { cookie } })).status).toBe(400);
    }
    await at.callback(agent, url);
    const good = agent.cookie('__Host-oauth_session')!;
    for (const cookie of [
      `__Host-oauth_session=${good}; __Host-oauth_session=${good}`,
      `__Host-oauth_session=${'A'.repeat(43)}; __Host-oauth_session=${good}`,
      `__Host-oauth_session=${good}; __Host-oauth_session=`,
    ]) {
      expect((await agent.request({ url: `${ORIGIN}/me`, headers: { cookie }, keepCookies: false })).status).toBe(401);
    }
    expect(await at.status(agent)).toBe(200);
  });

  it('C-025 C-026 odd names and names without the prefix are ignored', async () => {
    const agent = at.agent();
    await at.login(agent);
    const good = agent.cookie('__Host-oauth_session')!;
    for (const cookie of [
      `=__Host-oauth_session=${good}`,
      `__host-oauth_session=${good}`,
      `__HOST-oauth_session=${good}`,
      `%5F_Host-oauth_session=${good}`,
      `oauth_session=${good}`,
      `__Secure-oauth_session=${good}`,
      `x__Host-oauth_session=${good}`,
      `__Host-oauth_session ${good}`,
      `__Host-oauth_sessio\u00eb=${good}`,
      `a=b,__Host-oauth_session=${good}`,
    ]) {
      const answer = await agent.request({ url: `${ORIGIN}/me`, headers: { cookie }, keepCookies: false });
      expect([cookie, answer.status]).toEqual([cookie, 401]);
      expect(answer.setCookies).toEqual([]);
    }
    // A sibling's cookies of the plain names change nothing.
    const cookie = `oauth_session=${'A'.repeat(43)}; __Host-oauth_session=${good}; oauth_browser=x`;
    expect((await agent.request({ url: `${ORIGIN}/me`, headers: { cookie } })).status).toBe(200);
  });

  it('C-018 headers grant no identity', async () => {
    const agent = at.agent();
    await at.login(agent);
    const id =
      agent.history.length > 0 ? (await agent.fetch(`${ORIGIN}/me`)).json<{ user: { id: string } }>().user.id : '';
    for (const name of [
      'x-user',
      'x-forwarded-user',
      'x_forwarded_email',
      'x-forwarded-email',
      'remote-user',
      'x-auth-request-user',
      'authorization',
      'x-session',
      'oauth_session',
      'user-agent',
    ]) {
      const answer = await at.agent().request({ url: `${ORIGIN}/me`, headers: { [name]: id } });
      expect([name, answer.status]).toEqual([name, 401]);
    }
  });

  it('D-004 the database holds hashes only, and none of its values logs in', async () => {
    const agent = at.agent();
    await at.login(agent);
    const rows = await at.database.query<{ hash: Buffer }>(`select token_hash as hash from oauth_sessions`);
    for (const { hash } of rows) {
      for (const value of [hash.toString('base64url'), hash.toString('hex')]) {
        const answer = await at
          .agent()
          .request({ url: `${ORIGIN}/me`, headers: { cookie: `__Host-oauth_session=${value}` } });
        expect(answer.status).toBe(401);
      }
    }
  });
});
