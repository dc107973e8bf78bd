import { oidcOf } from '../support/app.js';
import { LoginBench } from '../support/login-bench.js';
import { UserAgent } from '../support/user-agent.js';
import { FakeProvider } from '../../src/testing/index.js';

describe('two providers', () => {
  let other: FakeProvider;
  let bench: LoginBench;
  beforeAll(async () => {
    other = await FakeProvider.start();
    bench = await LoginBench.start({
      providers: (provider) => [oidcOf(provider, { name: 'a' }), oidcOf(other, { name: 'b' })],
    });
  });
  beforeEach(() => {
    bench.provider.reset();
    other.reset();
  });
  afterAll(async () => {
    await bench?.[Symbol.asyncDispose]();
    await other?.close();
  });

  it('A-003 A-047 a code of B that comes back to a login at A goes to nobody', async () => {
    const { provider, app } = bench;
    provider.mixUp({ authorizationEndpoint: other.endpoint('authorize'), clientId: 'client' });
    expect(await bench.login({ name: 'a' })).toMatchObject({ subject: null, code: 'issuer_mismatch' });
    const callback = await (async () => {
      const agent = new UserAgent();
      const start = await agent.navigate(`${app.url}/auth/a/login`, { followRedirects: false });
      const forward = await agent.navigate(start.headers.get('location')!, { followRedirects: false });
      const back = await agent.navigate(forward.headers.get('location')!, { followRedirects: false });
      return { agent, url: back.headers.get('location')!.replace('/auth/a/', '/auth/b/') };
    })();
    expect((await callback.agent.navigate(callback.url)).status).toBe(400);
    expect([...provider.requestsTo('token'), ...other.requestsTo('token')]).toEqual([]);
    const [code] = other.issued.filter(({ kind }) => kind === 'code');
    expect(provider.requestsWith(code!.value)).toEqual([]);
  });

  it('A-005 a login begun at A cannot be finished at B', async () => {
    const agent = new UserAgent();
    const callback = await bench.callbackOf(agent, 'a');
    expect((await agent.navigate(callback.href.replace('/auth/a/', '/auth/b/'))).status).toBe(400);
    expect(other.requestsTo('token')).toEqual([]);
    // At A it was not spent by that.
    expect((await agent.navigate(callback.href, { followRedirects: false })).status).toBe(303);
    expect((await agent.fetch(`${bench.app.url}/me`)).status).toBe(200);
  });

  it.each<[string, (issuer: string) => string]>([
    ['another issuer', () => other.issuer],
    ['a trailing slash', (issuer) => `${issuer}/`],
    ['another case', (issuer) => issuer.toUpperCase()],
    ['a percent variant', (issuer) => issuer.replace('l', '%6c')],
    ['nothing', () => ''],
  ])('A-004 compares iss to the letter: %s', async (_name, iss) => {
    const { provider } = bench;
    provider.configure({ responseIss: iss(provider.issuer) });
    expect(await bench.login({ name: 'a' })).toMatchObject({ subject: null, status: 400, code: 'issuer_mismatch' });
    expect(provider.requestsTo('token')).toEqual([]);
  });

  it('A-048 believes no error of another issuer', async () => {
    const { provider } = bench;
    provider.configure({ responseIss: other.issuer });
    provider.fault('authorize', { kind: 'oauthError', error: 'access_denied' });
    expect(await bench.login({ name: 'a' })).toMatchObject({ code: 'issuer_mismatch', status: 400 });
  });

  it('A-049 misses an iss that was advertised', async () => {
    bench.provider.tamper('authorizationResponse', (params) => params.delete('iss'));
    expect(await bench.login({ name: 'a' })).toMatchObject({ code: 'issuer_mismatch', subject: null });
    expect(bench.provider.requestsTo('token')).toEqual([]);
  });

  it('A-012 A-007 an injected code is useless, also where the server ignores PKCE', async () => {
    const { provider } = bench;
    for (const pkce of ['required', 'ignored'] as const) {
      provider.configure({ pkce });
      const stolen = (await bench.callbackOf(new UserAgent(), 'a')).searchParams.get('code')!;
      const victim = new UserAgent();
      const callback = await bench.callbackOf(victim, 'a');
      callback.searchParams.set('code', stolen);
      const end = await victim.navigate(callback.href);
      // Without PKCE at the server, the nonce in the ID token tells that the code is of another login.
      expect(end.status).toBeGreaterThanOrEqual(400);
      expect((await victim.fetch(`${bench.app.url}/me`)).status).toBe(401);
    }
  });

  it('A-046 never falls back to plain', async () => {
    bench.provider.fault('authorize', {
      kind: 'oauthError',
      error: 'invalid_request',
      description: 'transform not supported',
    });
    expect(await bench.login({ name: 'a' })).toMatchObject({ subject: null });
    expect(await bench.login({ name: 'a' })).toMatchObject({ subject: null });
    // One request each, and the next one is not humbler for the refusal.
    expect(bench.provider.requestsTo('authorize').map(({ query }) => query.get('code_challenge_method'))).toEqual([
      'S256',
      'S256',
    ]);
  });
});

it('A-050 compares an iss that nobody advertised', async () => {
  await using bench = await LoginBench.start({
    provider: {
      metadata: { authorization_response_iss_parameter_supported: undefined },
      responseIss: 'https://evil.example',
    },
  });
  expect(await bench.login()).toMatchObject({ code: 'issuer_mismatch', subject: null });
});

it('A-121 keeps two registrations at one issuer apart', async () => {
  await using bench = await LoginBench.start({
    provider: {
      clients: [
        { clientId: 'one', clientSecret: 's1' },
        { clientId: 'two', clientSecret: 's2' },
      ],
    },
    providers: (provider) => [
      oidcOf(provider, { name: 'one', clientId: 'one', clientSecret: 's1' }),
      oidcOf(provider, { name: 'two', clientId: 'two', clientSecret: 's2' }),
    ],
  });
  const agent = new UserAgent();
  const callback = await bench.callbackOf(agent, 'one');
  expect((await agent.navigate(callback.href.replace('/auth/one/', '/auth/two/'))).status).toBe(400);
  expect(bench.provider.requestsTo('token')).toEqual([]);
});
