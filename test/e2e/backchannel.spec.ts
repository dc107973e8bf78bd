import { randomBytes } from 'node:crypto';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { oidcOf, platforms, type RunningApp, startApp } from '../support/app.js';
import { startTcpProxy } from '../support/tcp-proxy.js';
import { UserAgent } from '../support/user-agent.js';
import { Cleanup } from '../../src/ops/cleanup.service.js';
import { FakeProvider } from '../../src/testing/index.js';

const EVENT = 'http://schemas.openid.net/event/backchannel-logout';

describe.each(platforms)('back-channel logout on %s', (platform) => {
  let database: TestDatabase;
  let provider: FakeProvider;
  let other: FakeProvider;
  let app: RunningApp;
  let url: string;

  beforeAll(async () => {
    [database, provider, other] = await Promise.all([createTestDatabase(), FakeProvider.start(), FakeProvider.start()]);
    app = await startApp({
      platform,
      database: database.url,
      providers: [oidcOf(provider), oidcOf(other, { name: 'other' })],
    });
    url = `${app.url}/auth/fake/backchannel-logout`;
  });
  beforeEach(() => provider.reset());
  afterAll(async () => {
    await app?.close();
    await provider?.close();
    await other?.close();
    await database?.drop();
  });

  async function login(sub = 'user-1', name: 'fake' | 'other' = 'fake'): Promise<UserAgent> {
    const agent = new UserAgent();
    (name === 'fake' ? provider : other).user({ sub });
    await agent.navigate(`${app.url}/auth/${name}/login?returnTo=/me`);
    return agent;
  }
  const alive = async (...agents: UserAgent[]) =>
    Promise.all(agents.map(async (agent) => (await agent.fetch(`${app.url}/me`)).status === 200));
  const post = async (body: string, headers: Record<string, string> = {}) =>
    fetch(url, { method: 'POST', body, headers: { 'content-type': 'application/x-www-form-urlencoded', ...headers } });
  const seen = async () => Number((await database.query('select count(*) from oauth_logout_tokens'))[0]!.count);

  it('A-109 A-107 ends the session and says 200, also for an unknown one, and lets no cache keep it', async () => {
    const agent = await login();
    const answer = await provider.sendBackchannelLogout(url);
    expect([answer.status, answer.body, answer.headers.get('cache-control')]).toEqual([200, '', 'no-store']);
    expect(await alive(agent)).toEqual([false]);
    const unknown = await provider.sendBackchannelLogout(url, { sid: 'nobody', sub: undefined });
    expect([unknown.status, unknown.headers.get('cache-control')]).toEqual([200, 'no-store']);
  });

  it('A-103 takes a MAC with the client secret where that was chosen for ID tokens, and no other', async () => {
    await using mac = await FakeProvider.start({ idTokenAlg: 'HS256' });
    const definition = oidcOf(mac, { name: 'mac', idTokenSignedResponseAlg: 'HS256', userinfo: false });
    const own = await startApp({ platform, database: database.url, providers: [definition] });
    const agent = new UserAgent();
    const address = `${own.url}/auth/mac/backchannel-logout`;
    const status = async () => (await agent.fetch(`${own.url}/me`)).status;
    try {
      await agent.navigate(`${own.url}/auth/mac/login?returnTo=/me`);
      for (const wrong of [
        { kind: 'badSignature' },
        { kind: 'algorithm', alg: 'RS256' },
        { kind: 'unsigned' },
      ] as const)
        expect((await mac.sendBackchannelLogout(address, {}, { forgery: wrong })).status).toBe(400);
      expect(await status()).toBe(200);
      expect((await mac.sendBackchannelLogout(address)).status).toBe(200);
      expect(await status()).toBe(401);
    } finally {
      await own.close();
    }
  });

  it('A-102 A-104 refuses a token with any claim missing or wrong, and nothing ends', async () => {
    const agent = await login();
    const now = Math.floor(Date.now() / 1000);
    const before = await seen();
    const wrong: Record<string, unknown>[] = [
      ...['iss', 'aud', 'iat', 'exp', 'jti', 'events'].map((claim) => ({ [claim]: undefined })),
      { sub: undefined, sid: undefined },
      { nonce: 'n' },
      { iss: other.issuer },
      { iss: `${provider.issuer}/` },
      { aud: 'another' },
      { aud: ['client', 'another'] },
      { exp: now - 120 },
      { iat: now + 120 },
      { iat: now - 7200 },
      { jti: '' },
      { jti: 5 },
      { sid: ['x'] },
      { sub: 7 },
      { sub: 's'.repeat(256) },
      { sub: 'user\n1' },
      { events: { 'http://schemas.openid.net/event/other': {} } },
      { events: [EVENT] },
      { events: EVENT },
      { events: { [EVENT]: true } },
      { events: { [EVENT]: [] } },
      { events: { [EVENT]: null } },
    ];
    for (const claims of wrong) {
      const answer = await provider.sendBackchannelLogout(url, claims);
      expect([JSON.stringify(claims), answer.status]).toEqual([JSON.stringify(claims), 400]);
      expect(answer.headers.get('cache-control')).toBe('no-store');
    }
    expect(await alive(agent)).toEqual([true]);
    expect(await seen()).toBe(before);
  });

  it('A-103 A-106 E-059 refuses foreign signatures, algorithms and kinds of token, before anything is written', async () => {
    const agent = await login();
    const before = await seen();
    const idToken = provider.issued.filter((item) => item.kind === 'idToken').at(-1)!.value;
    const good = provider.logoutToken();
    const tokens = [
      idToken,
      provider.logoutToken({}, { typ: 'at+jwt' }),
      other.logoutToken({ iss: provider.issuer, aud: 'client', sub: 'user-1' }),
      `${good.slice(0, -8)}AAAAAAAA`,
      `${Buffer.from('{"alg":"none"}').toString('base64url')}.${good.split('.')[1]}.`,
      `${Buffer.from('{"alg":"HS256"}').toString('base64url')}.${good.split('.')[1]}.AAAA`,
      provider.logoutToken({}, { header: { alg: 'RS512' } }),
      'x',
      'a.b.c',
    ];
    for (const [index, token] of tokens.entries())
      expect([index, (await post(`logout_token=${encodeURIComponent(token)}`)).status]).toEqual([index, 400]);
    expect(await alive(agent)).toEqual([true]);
    expect(await seen()).toBe(before);
  });

  it('A-106 accepts typ JWT and none', async () => {
    for (const options of [{ typ: 'JWT' }, { header: { typ: undefined } }]) {
      const agent = await login();
      expect((await provider.sendBackchannelLogout(url, {}, options as never)).status).toBe(200);
      expect(await alive(agent)).toEqual([false]);
    }
  });

  it('A-105 a token delivered twice does nothing to a newer session', async () => {
    const agent = await login();
    const token = provider.logoutToken({ sid: undefined });
    expect((await post(`logout_token=${token}`)).status).toBe(200);
    expect(await alive(agent)).toEqual([false]);
    const newer = await login();
    await post(`logout_token=${token}`);
    expect(await alive(newer)).toEqual([true]);
  });

  it('A-107 ends exactly the sessions that are meant: by sid, by subject, by both', async () => {
    const first = await login('user-1');
    const { sid } = provider.logins.at(-1)!;
    const second = await login('user-1');
    const { sid: secondSid } = provider.logins.at(-1)!;
    const stranger = await login('user-2');
    const elsewhere = await login('user-1', 'other');
    const all = [first, second, stranger, elsewhere];
    await provider.sendBackchannelLogout(url, { sid, sub: 'user-2' });
    expect(await alive(...all)).toEqual([true, true, true, true]);
    await provider.sendBackchannelLogout(url, { sid, sub: undefined });
    expect(await alive(...all)).toEqual([false, true, true, true]);
    const third = await login('user-1');
    await provider.sendBackchannelLogout(url, { sid: secondSid, sub: 'user-1' });
    expect(await alive(second, third, stranger, elsewhere)).toEqual([false, true, true, true]);
    const fourth = await login('user-1');
    await provider.sendBackchannelLogout(url, { sid: undefined, sub: 'user-1' });
    expect(await alive(third, fourth, stranger, elsewhere)).toEqual([false, false, true, true]);
  });

  it('A-107 ends a session by whatever sid its login kept, and by the subject where it kept none', async () => {
    const long = randomBytes(2_048).toString('base64url').slice(0, 2_048);
    const wide = 'é'.repeat(1_024);
    for (const sid of ['s'.repeat(256), long, wide]) {
      provider.user({ sub: 'user-1', sid });
      const agent = new UserAgent();
      await agent.navigate(`${app.url}/auth/fake/login?returnTo=/me`);
      expect((await provider.sendBackchannelLogout(url, { sid, sub: undefined })).status).toBe(200);
      expect(await alive(agent)).toEqual([false]);
    }
    for (const sid of [`${long}x`, `${wide}x`]) {
      provider.user({ sub: 'user-1', sid });
      const agent = new UserAgent();
      await agent.navigate(`${app.url}/auth/fake/login?returnTo=/me`);
      const [kept] = await database.query('select sid from oauth_sessions order by created_at desc limit 1');
      expect(kept).toEqual({ sid: null });
      expect((await provider.sendBackchannelLogout(url, { sid })).status).toBe(400);
      expect(await alive(agent)).toEqual([true]);
      expect((await provider.sendBackchannelLogout(url, { sid: undefined })).status).toBe(200);
      expect(await alive(agent)).toEqual([false]);
    }
  });

  it('A-108 revokes the refresh token, unless it was issued for offline access', async () => {
    const agent = await login('user-8');
    const refresh = provider.issued.filter((item) => item.kind === 'refreshToken').at(-1)!.value;
    await provider.sendBackchannelLogout(url, { sub: 'user-8' });
    expect(await alive(agent)).toEqual([false]);
    for (let wait = 0; wait < 200 && provider.isActive(refresh); wait++) await new Promise((r) => setTimeout(r, 50));
    expect(provider.isActive(refresh)).toBe(false);

    provider.configure({ scope: 'openid offline_access' });
    const second = await login('user-9');
    const offline = provider.issued.filter((item) => item.kind === 'refreshToken').at(-1)!.value;
    await provider.sendBackchannelLogout(url, { sub: 'user-9' });
    expect(await alive(second)).toEqual([false]);
    const [grant] = await database.query(
      `select g.status from oauth_grants g join oauth_accounts a on a.id = g.account_id where a.subject = 'user-9'`,
    );
    expect(grant).toEqual({ status: 'active' });
    expect(provider.isActive(offline)).toBe(true);
  });

  it('A-110 takes one form-encoded token and nothing else', async () => {
    const agent = await login();
    const token = provider.logoutToken();
    const refused = [
      await post(`logout_token=${token}&logout_token=${token}`),
      await post(`logout_token=`),
      await post(`x=1`),
      await post(`logout_token=${token}&pad=${'x'.repeat(65_536)}`),
      await post(JSON.stringify({ logout_token: token }), { 'content-type': 'application/json' }),
      await post(`--b\r\ncontent-disposition: form-data; name="logout_token"\r\n\r\n${token}\r\n--b--\r\n`, {
        'content-type': 'multipart/form-data; boundary=b',
      }),
      await fetch(`${url}?logout_token=${token}`),
    ];
    // Fastify itself refuses what it cannot parse.
    const several = platform === 'fastify' ? 415 : 400;
    expect(refused.map((answer) => answer.status)).toEqual([400, 400, 400, 400, 400, several, 405]);
    expect(await alive(agent)).toEqual([true]);
    expect((await post(`logout_token=${token}&extra=1`)).status).toBe(200);
    expect(await alive(agent)).toEqual([false]);
  });

  it('A-111 wins over a login that is under way: before its session is written, by sid or by subject', async () => {
    for (const claims of [{ sub: undefined }, { sid: undefined }] as const) {
      const hold = provider.hold('token');
      const agent = new UserAgent();
      const pending = agent.navigate(`${app.url}/auth/fake/login?returnTo=/me`);
      await hold.arrived;
      expect((await provider.sendBackchannelLogout(url, claims as never)).status).toBe(200);
      hold.release();
      const answer = await pending;
      expect([answer.status, agent.cookie('oauth_session')]).toEqual([400, undefined]);
      expect(await alive(agent)).toEqual([false]);
    }
    expect(await alive(await login())).toEqual([true]);
  });

  it('A-111 wins over a login that takes so long that its pending login was cleaned up', async () => {
    for (const claims of [{ sub: undefined }, { sid: undefined }] as const) {
      const hold = provider.hold('token');
      const agent = new UserAgent();
      const pending = agent.navigate(`${app.url}/auth/fake/login?returnTo=/me`);
      await hold.arrived;
      await database.query(`update oauth_states set expires_at = now() - interval '2 minutes'`);
      await app.app.get(Cleanup, { strict: false }).run();
      expect((await provider.sendBackchannelLogout(url, claims as never)).status).toBe(200);
      hold.release();
      expect((await pending).status).toBe(400);
      expect(await alive(agent)).toEqual([false]);
    }
  });

  it('A-109 says 503 while the database is away, and the same token works afterwards', async () => {
    const proxy = await startTcpProxy({ target: database.url });
    const cut = await startApp({
      platform,
      database: proxy.urlFor(database.url),
      providers: [oidcOf(provider)],
      oauth: { databaseTimeout: 1000 },
    });
    const agent = await login();
    const token = provider.logoutToken();
    await proxy.refuse();
    proxy.cut();
    const body = new URLSearchParams({ logout_token: token });
    const away = await fetch(`${cut.url}/auth/fake/backchannel-logout`, { method: 'POST', body });
    expect([away.status, away.headers.get('cache-control')]).toEqual([503, 'no-store']);
    await proxy.allow();
    const back = await fetch(`${cut.url}/auth/fake/backchannel-logout`, { method: 'POST', body });
    expect(back.status).toBe(200);
    expect(await alive(agent)).toEqual([false]);
    await cut.close();
    await proxy.close();
  });

  it('A-102 accepts a token without exp only where the option says so, and then for two minutes', async () => {
    const lenient = await startApp({
      platform,
      database: database.url,
      providers: [oidcOf(provider, { logoutTokenWithoutExp: true })],
    });
    const now = Math.floor(Date.now() / 1000);
    const agent = await login();
    const at = `${lenient.url}/auth/fake/backchannel-logout`;
    expect((await provider.sendBackchannelLogout(at, { exp: undefined, iat: now - 180 })).status).toBe(400);
    expect(await alive(agent)).toEqual([true]);
    expect((await provider.sendBackchannelLogout(at, { exp: undefined })).status).toBe(200);
    expect(await alive(agent)).toEqual([false]);
    await lenient.close();
  });
});
