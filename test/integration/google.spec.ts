// The preset `google()`: what it asks of Google, and that a refresh token which never rotates is kept.
import { FakeProvider } from '../../src/testing/index.js';
import { google, type GoogleOptions } from '../../src/index.js';
import { MeController, type RunningApp, startApp } from '../support/app.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { UserAgent } from '../support/user-agent.js';

const CLIENT = { clientId: 'client', clientSecret: 'secret' };

describe('google()', () => {
  let database: TestDatabase;
  let provider: FakeProvider;

  beforeAll(async () => {
    [database, provider] = await Promise.all([createTestDatabase(), FakeProvider.start()]);
  });
  afterAll(async () => {
    await provider?.close();
    await database?.drop();
  });

  it('is found by Google’s issuer, and needs nothing but the client', () => {
    expect(google(CLIENT)).toMatchObject({
      ...{ kind: 'oidc', name: 'google', displayName: 'Google', issuer: 'https://accounts.google.com' },
      scope: ['openid', 'profile', 'email'],
      staticRefreshToken: true,
    });
  });

  it('A-010 asks for a refresh token, with state, PKCE and nonce', async () => {
    const asked = await authorizationOf({ authorizationParams: { hd: 'example.com' } });
    expect(asked).toMatchObject({
      ...{ access_type: 'offline', prompt: 'consent', hd: 'example.com', code_challenge_method: 'S256' },
      ...{ state: expect.any(String), nonce: expect.any(String), code_challenge: expect.any(String) },
    });
  });

  it('spares people the consent page where no refresh token is wanted', async () => {
    const asked = await authorizationOf({ offline: false });
    expect(asked).not.toHaveProperty('access_type');
    expect(asked).not.toHaveProperty('prompt');
  });

  it('lets `prompt` be chosen', async () => {
    expect(await authorizationOf({ prompt: 'select_account' })).toMatchObject({
      access_type: 'offline',
      prompt: 'select_account',
    });
  });

  it('E-024 keeps the one refresh token that Google gives, and uses it again and again', async () => {
    provider.configure({ expiresIn: 1, rotation: false });
    await using app = await start({});
    MeController.apiUrl = `${provider.apiUrl}/me`;
    const agent = new UserAgent();
    await agent.navigate(`${app.url}/auth/google/login`);
    const before = provider.refreshCount;
    for (let round = 1; round <= 2; round++) {
      await new Promise((done) => setTimeout(done, 1100));
      expect(JSON.parse((await agent.fetch(`${app.url}/me/api`)).body)).toMatchObject({ status: 200 });
      expect(provider.refreshCount).toBe(before + round);
    }
  });

  async function authorizationOf(options: Partial<GoogleOptions>): Promise<Record<string, string>> {
    await using app = await start(options);
    const away = await new UserAgent().navigate(`${app.url}/auth/google/login`, { followRedirects: false });
    return Object.fromEntries(new URL(away.headers.get('location')!).searchParams);
  }

  function start(options: Partial<GoogleOptions>): Promise<RunningApp> {
    const definition = google({
      ...CLIENT,
      issuer: provider.issuer,
      apiOrigins: [new URL(provider.apiUrl).origin],
      ...options,
    });
    return startApp({ database: database.url, providers: [definition], oauth: { refresh: { floor: 0 } } });
  }
});
