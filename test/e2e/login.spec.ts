import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { MeController, oidcOf, platforms, type RunningApp, startApp } from '../support/app.js';
import { UserAgent } from '../support/user-agent.js';
import { FakeProvider } from '../../src/testing/index.js';

describe.each(platforms)('a login on %s', (platform) => {
  let database: TestDatabase;
  let provider: FakeProvider;
  let app: RunningApp;

  beforeAll(async () => {
    [database, provider] = await Promise.all([createTestDatabase(), FakeProvider.start()]);
    MeController.apiUrl = `${provider.apiUrl}/me`;
    app = await startApp({ platform, database: database.url, providers: [oidcOf(provider)] });
  });
  afterAll(async () => {
    await app?.close();
    await provider?.close();
    await database?.drop();
  });

  it('goes to the provider and comes back with a session', async () => {
    const agent = new UserAgent();
    const start = await agent.navigate(`${app.url}/auth/fake/login?returnTo=/me`);
    expect(start.url).toBe(`${app.url}/me`);
    expect(start.status).toBe(200);
    expect(JSON.parse(start.body)).toMatchObject({ user: { provider: 'fake', subject: 'user-1' } });
  });

  it('sends people without a session to log in, and scripts away', async () => {
    const agent = new UserAgent();
    const script = await agent.fetch(`${app.url}/me`);
    expect(script.status).toBe(401);
    expect(JSON.parse(script.body)).toMatchObject({ code: 'unauthenticated' });
    const page = await agent.navigate(`${app.url}/me?x=1`);
    expect(page.url).toBe(`${app.url}/me?x=1`);
    expect(page.status).toBe(200);
  });

  it('calls the API with a token that never reaches the browser', async () => {
    const agent = new UserAgent();
    await agent.navigate(`${app.url}/auth/fake/login`);
    const answer = await agent.fetch(`${app.url}/me/api`);
    expect(JSON.parse(answer.body)).toMatchObject({ status: 200, body: { sub: 'user-1' } });
    const tokens = provider.issued.filter((item) => item.kind !== 'code').map((item) => item.value);
    expect(tokens.length).toBeGreaterThan(2);
    const seen = JSON.stringify(agent.history);
    for (const token of tokens) expect(seen).not.toContain(token);
  });

  it('refreshes an expired token once, whoever asks', async () => {
    const agent = new UserAgent();
    provider.configure({ expiresIn: 1 });
    await agent.navigate(`${app.url}/auth/fake/login`);
    provider.configure({ expiresIn: 3600 });
    await new Promise((resolve) => setTimeout(resolve, 1100));
    const before = provider.refreshCount;
    const answers = await Promise.all(Array.from({ length: 20 }, () => agent.fetch(`${app.url}/me/api`)));
    expect(answers.map((answer) => answer.status)).toEqual(Array(20).fill(200));
    expect(provider.refreshCount - before).toBe(1);
    expect(provider.familiesRevoked).toBe(0);
  });

  it('logs out', async () => {
    const agent = new UserAgent();
    await agent.navigate(`${app.url}/auth/fake/login?returnTo=/me`);
    const out = await agent.fetch(`${app.url}/auth/logout`, { method: 'POST' });
    expect([out.status, JSON.parse(out.body)]).toEqual([200, { logoutUrl: expect.stringContaining(provider.url) }]);
    expect((await agent.fetch(`${app.url}/me`)).status).toBe(401);
  });
});
