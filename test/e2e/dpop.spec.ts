import { LoginBench } from '../support/login-bench.js';
import { UserAgent } from '../support/user-agent.js';
import { MeController } from '../support/app.js';

const DPOP = { client: { dpop: true } } as const;

describe('sender-constrained tokens', () => {
  it('A-059 A-060 A-066 A-067 binds code, tokens, refreshes and API calls to one key of this grant', async () => {
    await using bench = await LoginBench.start(DPOP);
    const { provider, app } = bench;
    const { agent, subject } = await bench.login();
    expect(subject).toBe('user-1');
    provider.expireAccessTokens();
    const api = await agent.fetch(`${app.url}/me/api`);
    expect(api.json()).toMatchObject({ status: 200, body: { sub: 'user-1' } });
    expect(provider.refreshCount).toBe(1);

    const bound = provider.requestsTo('authorize')[0]!.query.get('dpop_jkt');
    const sent = [...provider.requestsTo('token'), ...provider.requestsTo('userinfo'), ...provider.requestsTo('api')];
    expect(sent.length).toBe(5);
    const seen = new Set<unknown>();
    for (const request of sent) {
      const names = request.rawHeaders.filter((_, at) => at % 2 === 0).map((name) => name.toLowerCase());
      expect(names.filter((name) => name === 'dpop')).toHaveLength(1);
      // A proof beside an expired token is not looked at.
      if (!request.dpop) {
        expect(request.status).toBe(401);
        continue;
      }
      const { header, claims } = request.dpop;
      expect(header).toEqual({ alg: 'ES256', typ: 'dpop+jwt', jwk: expect.any(Object) });
      expect(Object.keys(header.jwk as object).sort()).toEqual(['crv', 'kty', 'x', 'y']);
      expect(String(claims.jti).length).toBeGreaterThanOrEqual(16);
      expect(claims).toMatchObject({ htm: request.method, iat: expect.any(Number) });
      expect('ath' in claims).toBe(request.endpoint === 'api' || request.endpoint === 'userinfo');
      if (request.endpoint === 'api' || request.endpoint === 'userinfo')
        expect(request.headers.authorization).toMatch(/^DPoP /);
      seen.add(claims.jti);
    }
    expect(seen.size).toBe(sent.length - 1);
    expect(new Set(sent.flatMap(({ dpop }) => dpop?.jkt ?? []))).toEqual(new Set([bound]));

    await bench.login();
    const keys = provider.requestsTo('authorize').map(({ query }) => query.get('dpop_jkt'));
    expect(new Set(keys).size).toBe(2);
  });

  it('A-067 names the key in a pushed request as well, and seals it at rest', async () => {
    await using bench = await LoginBench.start({ client: { dpop: true, par: true } });
    const { provider } = bench;
    const callback = await bench.callbackOf(new UserAgent());
    expect(callback.searchParams.get('code')).toBeTruthy();
    const [push] = provider.requestsTo('par');
    expect(push!.form.get('dpop_jkt')).toBe(push!.dpop!.jkt);
    const rows = await bench.database.query('select payload, pg_column_size(s.*) as size from oauth_states s');
    expect(rows[0]!.payload).toMatch(/^ey[\w-]+\.[\w-]+\.[\w-]+\.[\w-]+\.[\w-]+$/);
    expect(Number(rows[0]!.size)).toBeLessThanOrEqual(1536);
    await bench.login();
    const [grant] = await bench.database.query('select dpop_key from oauth_grants');
    expect(grant!.dpop_key).toMatch(/^ey[\w-]+\.[\w-]+\.[\w-]+\.[\w-]+\.[\w-]+$/);
    expect(provider.requestsTo('code')[0]!.dpop!.jkt).toBe(provider.requestsTo('par')[1]!.form.get('dpop_jkt'));
  });

  it('A-061 proves a URL without its query and fragment', async () => {
    await using bench = await LoginBench.start(DPOP);
    MeController.apiUrl = `${bench.provider.apiUrl}/me?x=1#f`;
    const { agent } = await bench.login();
    expect((await agent.fetch(`${bench.app.url}/me/api`)).json()).toMatchObject({ status: 200 });
    expect(bench.provider.requestsTo('api')[0]!.dpop!.claims.htu).toBe(`${bench.provider.apiUrl}/me`);
  });

  it('A-062 uses the nonce of a good answer next, without a further round trip', async () => {
    await using bench = await LoginBench.start(DPOP);
    const { provider, app } = bench;
    provider.configure({ dpopNonce: 'rotating', apiDpopNonce: 'rotating' });
    const { agent } = await bench.login();
    await agent.fetch(`${app.url}/me/api`);
    provider.clearRequests();
    await bench.login();
    for (let call = 0; call < 3; call++) await agent.fetch(`${app.url}/me/api`);
    expect(provider.requestsTo('code')).toHaveLength(1);
    expect(provider.requestsTo('api')).toHaveLength(3);
    expect(provider.requests.filter(({ status }) => status === 401 || status === 400)).toEqual([]);
    const nonces = provider.requestsTo('api').map(({ dpop }) => dpop!.claims.nonce);
    expect(new Set(nonces).size).toBe(3);
  });

  it('A-063 A-064 keeps nonces per server, and tries once more with a fresh proof and a fresh assertion', async () => {
    const { exportJWK, generateKeyPair } = await import('jose');
    const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true });
    const jwks = { keys: [{ ...(await exportJWK(publicKey)), kid: 'k1', alg: 'ES256' }] };
    await using bench = await LoginBench.start({
      provider: { clients: [{ clientId: 'client', jwks }], dpopNonce: 'required', apiDpopNonce: 'required' },
      client: {
        dpop: true,
        clientSecret: undefined as never,
        clientAuthentication: 'private_key_jwt',
        clientPrivateKey: { ...(await exportJWK(privateKey)), kid: 'k1', alg: 'ES256' },
      },
    });
    const { provider, app } = bench;
    const { agent, subject } = await bench.login();
    expect(subject).toBe('user-1');
    await agent.fetch(`${app.url}/me/api`);
    const [refused, repeated, ...further] = provider.requestsTo('code');
    expect(further).toHaveLength(0);
    expect([refused!.status, repeated!.status]).toEqual([400, 200]);
    expect(refused!.dpop!.claims.jti).not.toBe(repeated!.dpop!.claims.jti);
    expect(refused!.clientAuth!.assertion!.jti).not.toBe(repeated!.clientAuth!.assertion!.jti);
    const atServer = repeated!.dpop!.claims.nonce;
    const atApi = provider.requestsTo('api').at(-1)!.dpop!.claims.nonce;
    expect(provider.requestsTo('api').every(({ dpop }) => dpop!.claims.nonce !== atServer)).toBe(true);
    expect(atApi).not.toBe(atServer);
  });

  it('A-063 stops after one more try where a server asks for ever new nonces', async () => {
    await using bench = await LoginBench.start(DPOP);
    const { provider, app } = bench;
    const { agent } = await bench.login();
    provider.clearRequests();
    provider.configure({ dpopNonce: 'endless', apiDpopNonce: 'endless' });
    expect(await bench.login()).toMatchObject({ subject: null });
    expect(provider.requestsTo('code').length).toBe(2);
    provider.configure({ dpopNonce: 'off' });
    const answer = await agent.fetch(`${app.url}/me/api`);
    expect(answer.json()).toMatchObject({ status: 401 });
    // One retry for the nonce, one refresh for the 401, and one retry for the nonce again.
    expect(provider.requestsTo('api').length).toBeLessThanOrEqual(4);
  });

  it('A-065 discards bearer tokens where bound ones were asked for, and bound ones where not', async () => {
    await using bench = await LoginBench.start(DPOP);
    const { provider, database } = bench;
    provider.configure({ dpopDowngrade: true });
    expect(await bench.login()).toMatchObject({ subject: null, code: 'invalid_token_response' });
    expect(await database.query('select 1 from oauth_grants')).toEqual([]);
    provider.configure({ dpopDowngrade: false });
    const { agent } = await bench.login();
    provider.configure({ dpopDowngrade: true });
    provider.expireAccessTokens();
    expect((await agent.fetch(`${bench.app.url}/me/api`)).status).toBeGreaterThanOrEqual(400);
    await using plain = await LoginBench.start();
    plain.provider.tamper('tokenResponse', (body) => void (body.token_type = 'DPoP'));
    expect(await plain.login()).toMatchObject({ subject: null, code: 'invalid_token_response' });
  });

  it('a later login without a refresh token brings a token with a key of its own', async () => {
    await using bench = await LoginBench.start(DPOP);
    const { provider, app } = bench;
    const first = await bench.login();
    provider.configure({ issueRefreshToken: false });
    await bench.login();
    expect((await first.agent.fetch(`${app.url}/me/api`)).json()).toMatchObject({ status: 200 });
  });

  /** An access token as a JWT that confirms a key. */
  const confirming = (jkt: unknown) => {
    const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
    return `${part({ alg: 'RS256', typ: 'at+jwt' })}.${part({ sub: 'user-1', cnf: { jkt } })}.c2lnbmF0dXJl`;
  };

  /** The provider issues such a token from now on. */
  const confirm = (bench: LoginBench, jkt: unknown) => {
    bench.provider.tamper('tokenResponse', (body) => ({ ...body, access_token: confirming(jkt) }));
    bench.provider.tamper('idToken', (claims) => void delete claims.at_hash);
  };

  it.each([
    ['another key', 'A'.repeat(43)],
    ['no text', 5],
    ['nothing', ''],
  ])('A-065 discards a token whose cnf.jkt names %s', async (_what, jkt) => {
    await using bench = await LoginBench.start(DPOP);
    confirm(bench, jkt);
    expect(await bench.login()).toMatchObject({ code: 'invalid_token_response', subject: null });
    const [counts] = await bench.database.query('select count(*)::int as n from oauth_access_tokens');
    expect(counts!.n).toBe(0);
  });

  it('A-065 discards a token bound to a key where none was asked for', async () => {
    await using bench = await LoginBench.start();
    confirm(bench, 'A'.repeat(43));
    expect(await bench.login()).toMatchObject({ code: 'invalid_token_response', subject: null });
  });

  it('takes tokens that are JWTs and confirm our key, at login and at refresh', async () => {
    await using bench = await LoginBench.start({ ...DPOP, provider: { accessTokenFormat: 'jwt' } });
    const { agent, subject } = await bench.login();
    expect(subject).toBe('user-1');
    bench.provider.expireAccessTokens();
    expect((await agent.fetch(`${bench.app.url}/me/api`)).json()).toMatchObject({ status: 200 });
    const token = bench.provider.issued.findLast(({ kind }) => kind === 'accessToken')!.value;
    expect(JSON.parse(Buffer.from(token.split('.')[1]!, 'base64url').toString())).toMatchObject({
      cnf: { jkt: expect.any(String) },
    });
  });
});
