import OAuth2Strategy, { type VerifyFunction } from 'passport-oauth2';
import { fromPassport } from '../../src/index.js';
import type { FakeProvider } from '../../src/testing/index.js';
import { LoginBench } from '../support/login-bench.js';

/** A strategy as hundreds of packages have it. */
class AcmeStrategy extends OAuth2Strategy {
  override name = 'acme';
  private readonly _userProfileURL: string;

  constructor(provider: FakeProvider, verify: VerifyFunction) {
    super(
      {
        authorizationURL: provider.endpoint('authorize'),
        tokenURL: provider.endpoint('token'),
        clientID: 'client',
        clientSecret: 'secret',
        callbackURL: 'https://unused.example/callback',
        scope: ['profile', 'email'],
        customHeaders: { 'User-Agent': 'acme' },
      },
      verify,
    );
    this._userProfileURL = `${provider.apiUrl}/me`;
    const stock = () => {
      throw new Error('the stock transport was used');
    };
    Object.assign(this._oauth2, { getOAuthAccessToken: stock, get: stock, _request: stock, _executeRequest: stock });
  }

  override authorizationParams(options: { accessType?: string }): object {
    return { access_type: options.accessType ?? 'online', prompt: 'consent' };
  }

  override tokenParams(): object {
    return { audience: 'https://api.example' };
  }

  override userProfile(accessToken: string, done: (error?: unknown, profile?: unknown) => void): void {
    this._oauth2.useAuthorizationHeaderforGET(false);
    this._oauth2.get(this._userProfileURL, accessToken, (error, body) => {
      if (error) return done(new Error(`failed to fetch ${String(accessToken)}`));
      const json = JSON.parse(String(body)) as { sub: string };
      done(null, {
        provider: 'acme',
        id: json.sub,
        displayName: 'User One',
        emails: [{ value: 'one@example.com', verified: true }],
        _json: json,
      });
    });
  }
}

const never: VerifyFunction = () => {
  throw new Error('the verify callback was called');
};

function benchOf(options: Parameters<typeof fromPassport>[1] = {}): Promise<LoginBench> {
  return LoginBench.start({
    provider: { oidc: false },
    providers: (provider) => [fromPassport(new AcmeStrategy(provider, never), options)],
  });
}

describe('fromPassport', () => {
  it('drives a strategy with our engine: its endpoints, parameters and profile, without its transport', async () => {
    await using bench = await benchOf({ authenticateOptions: { accessType: 'offline' } });
    const { agent, subject } = await bench.login({ name: 'acme' });
    expect(subject).toBe('user-1');
    const { query } = bench.provider.requestsTo('authorize')[0]!;
    expect(Object.fromEntries(query)).toMatchObject({
      access_type: 'offline',
      prompt: 'consent',
      scope: 'profile email',
      code_challenge_method: 'S256',
      redirect_uri: `${bench.app.url}/auth/acme/callback`,
    });
    expect(bench.provider.requestsTo('code')[0]!.form.get('audience')).toBe('https://api.example');
    const [call] = bench.provider.requestsTo('api');
    expect(call!.headers.authorization).toMatch(/^Bearer /);
    expect(call!.rawUrl).not.toContain('access_token');
    const me = (await agent.fetch(`${bench.app.url}/me`)).json<{ user: { profile: unknown } }>();
    expect(me.user.profile).toMatchObject({ name: 'User One', email: 'one@example.com', emailVerified: true });
    expect((await agent.fetch(`${bench.app.url}/me/api`)).json()).toMatchObject({ status: 200 });
  });

  it('fails the login when the profile fails, and tells no token', async () => {
    await using bench = await benchOf();
    bench.provider.fault('api', { kind: 'status', status: 500 });
    const { status, subject, response } = await bench.login({ name: 'acme' });
    expect([status, subject]).toEqual([502, null]);
    const [token] = bench.provider.issued.filter(({ kind }) => kind === 'accessToken');
    expect(response.body).not.toContain(token!.value);
  });

  it.each(['null', 'html', 'array'] as const)(
    'C-005 survives a strategy whose callback throws on an answer it did not expect (%s)',
    async (kind) => {
      const unheard: unknown[] = [];
      const hear = (error: unknown) => void unheard.push(error);
      process.on('unhandledRejection', hear);
      try {
        await using bench = await benchOf();
        bench.provider.fault('api', { kind });
        expect(await bench.login({ name: 'acme' })).toMatchObject({ status: 502, subject: null });
        expect(unheard).toEqual([]);
      } finally {
        process.off('unhandledRejection', hear);
      }
    },
  );

  it('C-005 survives a strategy whose userProfile() is asynchronous and rejects', async () => {
    class AsyncStrategy extends AcmeStrategy {
      override async userProfile(): Promise<void> {
        await Promise.resolve();
        throw new Error('not what was expected');
      }
    }
    const unheard: unknown[] = [];
    const hear = (error: unknown) => void unheard.push(error);
    process.on('unhandledRejection', hear);
    try {
      await using bench = await LoginBench.start({
        provider: { oidc: false },
        providers: (provider) => [fromPassport(new AsyncStrategy(provider, never))],
      });
      expect(await bench.login({ name: 'acme' })).toMatchObject({ status: 502, subject: null });
      expect(unheard).toEqual([]);
    } finally {
      process.off('unhandledRejection', hear);
    }
  });

  it('sends the token nowhere but where the strategy reads profiles', async () => {
    await using bench = await benchOf({ apiOrigins: ['https://api.example'] });
    expect(await bench.login({ name: 'acme' })).toMatchObject({ subject: null });
    expect(bench.provider.requestsTo('api')).toHaveLength(0);
  });

  it('adopts nothing but strategies of passport-oauth2', () => {
    expect(() => fromPassport({ name: 'local', authenticate: () => undefined })).toThrow(/extend OAuth2Strategy/);
  });
});
