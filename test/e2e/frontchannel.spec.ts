import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { lockKey } from '../../src/crypto/digest.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { oidcOf, platforms, type RunningApp, startApp } from '../support/app.js';
import { type AgentResponse, UserAgent } from '../support/user-agent.js';
import { FakeProvider } from '../../src/testing/index.js';

describe.each(platforms)('front-channel logout on %s', (platform) => {
  let database: TestDatabase;
  let provider: FakeProvider;
  let app: RunningApp;
  let url: string;

  beforeAll(async () => {
    [database, provider] = await Promise.all([createTestDatabase(), FakeProvider.start()]);
    app = await startApp({ platform, database: database.url, providers: [oidcOf(provider)] });
    url = `${app.url}/auth/fake/frontchannel-logout`;
  });
  beforeEach(() => provider.reset());
  afterAll(async () => {
    await app?.close();
    await provider?.close();
    await database?.drop();
  });

  async function login(): Promise<UserAgent> {
    const agent = new UserAgent();
    await agent.navigate(`${app.url}/auth/fake/login?returnTo=/me`);
    return agent;
  }
  const alive = async (agent: UserAgent) => (await agent.fetch(`${app.url}/me`)).status === 200;

  it('A-113 A-025 works in a frame without cookies, framed by the provider alone, and revokes nothing', async () => {
    const agent = await login();
    const bystander = await login();
    const target = provider.frontchannelLogoutUrl(url, { sid: provider.logins.at(-2)!.sid });
    const frame = await new UserAgent().navigate(target, { destination: 'iframe', from: `${provider.url}/logout` });
    expect(frame.status).toBe(200);
    expect(frame.headers.get('cache-control')).toBe('no-store');
    expect(frame.headers.get('content-security-policy')).toBe(
      `default-src 'none'; frame-ancestors ${new URL(provider.issuer).origin}`,
    );
    expect(frame.headers.get('x-frame-options')).toBeNull();
    expect([await alive(agent), await alive(bystander)]).toEqual([false, true]);
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(provider.revocations).toHaveLength(0);
  });

  it('A-112 ends nothing unless both parameters are there and fit', async () => {
    const agent = await login();
    const targets = [
      url,
      provider.frontchannelLogoutUrl(url, { iss: null }),
      provider.frontchannelLogoutUrl(url, { sid: null }),
      provider.frontchannelLogoutUrl(url, { iss: 'https://other.example' }),
      provider.frontchannelLogoutUrl(url, { iss: `${provider.issuer}/` }),
      `${provider.frontchannelLogoutUrl(url)}&sid=other`,
    ];
    for (const target of targets) {
      const answer = await agent.navigate(target, { destination: 'iframe', from: provider.url });
      expect([answer.status, answer.headers.get('cache-control')]).toEqual([400, 'no-store']);
      expect(await alive(agent)).toBe(true);
    }
    expect((await agent.navigate(provider.frontchannelLogoutUrl(url, { sid: 'unknown' }))).status).toBe(200);
    expect(await alive(agent)).toBe(true);
  });

  it('A-113 ends the session of the longest sid that a login keeps', async () => {
    for (const length of [256, 2_048]) {
      const sid = randomBytes(length).toString('base64url').slice(0, length);
      provider.user({ sub: 'user-1', sid });
      const agent = await login();
      expect((await new UserAgent().navigate(provider.frontchannelLogoutUrl(url, { sid }))).status).toBe(200);
      expect(await alive(agent)).toBe(false);
    }
  });

  it('A-113 is answered a few at a time: guarded requests and back-channel logouts go on, whoever sends many', async () => {
    const [agent, other] = [await login(), await login()];
    const [{ sid }, { sid: otherSid }] = [provider.logins.at(-2)!, provider.logins.at(-1)!];
    const holder = new pg.Client({ connectionString: database.url });
    await holder.connect();
    // Whatever makes them slow.
    await holder.query(`begin; select pg_advisory_xact_lock(${lockKey('sid', provider.issuer, sid)})`);
    const target = provider.frontchannelLogoutUrl(url, { sid });
    const refused: AgentResponse[] = [];
    const frames = Array.from({ length: 30 }, async () => {
      const answer = await new UserAgent().navigate(target, { destination: 'iframe', from: provider.url });
      if (answer.status !== 200) refused.push(answer);
      return answer.status;
    });
    try {
      while (refused.length < 27) expect(await alive(agent)).toBe(true);
      const back = `${app.url}/auth/fake/backchannel-logout`;
      expect((await provider.sendBackchannelLogout(back, { sid: otherSid })).status).toBe(200);
      expect([await alive(other), await alive(agent)]).toEqual([false, true]);
    } finally {
      // The lock ends with its connection.
      await holder.end();
    }
    expect((await Promise.all(frames)).sort()).toEqual([...Array(3).fill(200), ...Array(27).fill(429)]);
    expect(new Set(refused.map(({ headers }) => headers.get('retry-after')))).toEqual(new Set(['1']));
    expect(new Set(refused.map(({ headers }) => headers.get('cache-control')))).toEqual(new Set(['no-store']));
    expect(await alive(agent)).toBe(false);
    expect((await new UserAgent().navigate(target)).status).toBe(200);
  });

  it('D-018 A-101 prefetching and HEAD end nothing', async () => {
    const agent = await login();
    const target = provider.frontchannelLogoutUrl(url);
    expect((await agent.request({ url: target, headers: { 'sec-purpose': 'prefetch' } })).status).toBe(400);
    expect((await agent.request({ url: target, method: 'HEAD' })).status).toBe(405);
    expect(await alive(agent)).toBe(true);
  });
});
