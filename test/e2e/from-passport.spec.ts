import { inspect } from 'node:util';
import OAuth2Strategy, { type StrategyOptions, type VerifyFunction } from 'passport-oauth2';
import { fromPassport } from '../../src/index.js';
import type { FakeProvider } from '../../src/testing/index.js';
import { LoginBench } from '../support/login-bench.js';
import { UserAgent } from '../support/user-agent.js';

/** A strategy as hundreds of packages have it. */
class AcmeStrategy extends OAuth2Strategy {
  override name = 'acme';
  private readonly _userProfileURL: string;

  constructor(provider: FakeProvider, verify: VerifyFunction, own: Partial<StrategyOptions> = {}) {
    super(
      {
        authorizationURL: provider.endpoint('authorize'),
        tokenURL: provider.endpoint('token'),
        clientID: 'client',
        clientSecret: 'secret',
        callbackURL: 'https://unused.example/callback',
        scope: ['profile', 'email'],
        customHeaders: { 'User-Agent': 'acme' },
        ...own,
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

  it('reads no profile beyond 1 MiB, whatever the strategy would make of it', async () => {
    class TrustingStrategy extends AcmeStrategy {
      override userProfile(accessToken: string, done: (error?: unknown, profile?: unknown) => void): void {
        this._oauth2.get(`${this.api}/me`, accessToken, (error) =>
          error ? done(error) : done(null, { id: 'user-1' }),
        );
      }
      private readonly api: string;
      constructor(provider: FakeProvider) {
        super(provider, never);
        this.api = provider.apiUrl;
      }
    }
    await using bench = await LoginBench.start({
      provider: { oidc: false },
      providers: (provider) => [fromPassport(new TrustingStrategy(provider))],
    });
    bench.provider.fault('api', { kind: 'oversize', times: 1 });
    expect(await bench.login({ name: 'acme' })).toMatchObject({ status: 502, subject: null });
    expect(await bench.login({ name: 'acme' })).toMatchObject({ subject: 'user-1' });
  });

  it('sends the token nowhere but where the strategy reads profiles', async () => {
    await using bench = await benchOf({ apiOrigins: ['https://api.example'] });
    expect(await bench.login({ name: 'acme' })).toMatchObject({ subject: null });
    expect(bench.provider.requestsTo('api')).toHaveLength(0);
  });

  it('says which origin is missing, whatever the strategy makes of the refusal', async () => {
    const said: string[] = [];
    const log = (...lines: unknown[]) => void said.push(inspect(lines));
    await using bench = await LoginBench.start({
      provider: { oidc: false },
      providers: (provider) => [
        fromPassport(new AcmeStrategy(provider, never), { apiOrigins: ['https://api.example'] }),
      ],
      app: { logger: { log, warn: log, error: log } },
    });
    expect(await bench.login({ name: 'acme' })).toMatchObject({ status: 500, code: 'server_error', subject: null });
    expect(said.join('')).toContain('declared apiOrigins: https://api.example');
  });

  it.each<[string, Partial<StrategyOptions>, string]>([
    ['a text with spaces, whatever the separator', { scope: 'profile email', scopeSeparator: ',' }, 'profile email'],
    ['a text with its separator', { scope: 'profile,email', scopeSeparator: ',' }, 'profile,email'],
    ['a list, by the separator of the strategy', { scope: ['profile', 'email'], scopeSeparator: ',' }, 'profile,email'],
    ['a list, by spaces', { scope: ['profile', 'email'] }, 'profile email'],
  ])('asks for the scope of the strategy: %s', async (_, own, scope) => {
    await using bench = await LoginBench.start({
      provider: { oidc: false },
      providers: (provider) => [fromPassport(new AcmeStrategy(provider, never, own))],
    });
    await bench.callbackOf(new UserAgent(), 'acme');
    expect(bench.provider.requestsTo('authorize')[0]!.query.get('scope')).toBe(scope);
  });

  it.each([{ scope: ['email'] }, { scope: 'email' }])(
    'asks for the scope that would be given to passport.authenticate(): %j',
    async (authenticateOptions) => {
      // As passport-auth0 does: all that it is given becomes a parameter.
      class PassingStrategy extends AcmeStrategy {
        override authorizationParams(options: object): object {
          return { ...options };
        }
      }
      await using bench = await LoginBench.start({
        provider: { oidc: false },
        providers: (provider) => [fromPassport(new PassingStrategy(provider, never), { authenticateOptions })],
      });
      await bench.callbackOf(new UserAgent(), 'acme');
      expect(bench.provider.requestsTo('authorize')[0]!.query.get('scope')).toBe('email');
    },
  );

  it('authenticates the client by Basic where the strategy has that among its headers', async () => {
    const customHeaders = { Authorization: `Basic ${Buffer.from('client:secret').toString('base64')}` };
    await using bench = await LoginBench.start({
      provider: { oidc: false },
      providers: (provider) => [fromPassport(new AcmeStrategy(provider, never, { customHeaders }))],
    });
    expect(await bench.login({ name: 'acme' })).toMatchObject({ subject: 'user-1' });
    expect(bench.provider.requestsTo('code')[0]!.clientAuth).toMatchObject({ methods: ['client_secret_basic'] });
    expect(bench.provider.requestsTo('api')[0]!.headers.authorization).toMatch(/^Bearer /);
  });

  it('refuses a strategy that reads no profile: nobody could ever log in', () => {
    const endpoints = { authorizationURL: 'https://acme.example/a', tokenURL: 'https://acme.example/t' };
    const plain = new OAuth2Strategy({ ...endpoints, clientID: 'client', clientSecret: 'secret' }, never);
    expect(() => fromPassport(plain)).toThrow(/has no userProfile\(\) of its own.*oauth2\(/);
  });

  it('adopts nothing but strategies of passport-oauth2', () => {
    expect(() => fromPassport({ name: 'local', authenticate: () => undefined })).toThrow(/extend OAuth2Strategy/);
  });
});
