import { randomBytes } from 'node:crypto';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { oidcOf, platforms, type RunningApp, startApp } from '../support/app.js';
import { UserAgent } from '../support/user-agent.js';
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

  it('D-018 A-101 prefetching and HEAD end nothing', async () => {
    const agent = await login();
    const target = provider.frontchannelLogoutUrl(url);
    expect((await agent.request({ url: target, headers: { 'sec-purpose': 'prefetch' } })).status).toBe(400);
    expect((await agent.request({ url: target, method: 'HEAD' })).status).toBe(405);
    expect(await alive(agent)).toBe(true);
  });
});
