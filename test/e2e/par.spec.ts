import { exportJWK, generateKeyPair } from 'jose';
import { LoginBench } from '../support/login-bench.js';
import { UserAgent } from '../support/user-agent.js';
import type { Fault, FakeClient } from '../../src/testing/index.js';

async function signingClient(): Promise<{ client: FakeClient; jwk: Record<string, unknown> }> {
  const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true });
  const name = { kid: 'k1', alg: 'ES256' };
  const jwks = { keys: [{ ...(await exportJWK(publicKey)), ...name }] };
  return { client: { clientId: 'client', jwks }, jwk: { ...(await exportJWK(privateKey)), ...name } };
}

describe('pushed authorization requests', () => {
  it('A-053 A-055 A-056 pushes with client authentication and sends the browser with two parameters', async () => {
    await using bench = await LoginBench.start({ client: { par: true } });
    const { provider } = bench;
    expect(await bench.login()).toMatchObject({ subject: 'user-1' });
    const [push] = provider.requestsTo('par');
    expect(push).toMatchObject({
      method: 'POST',
      status: 201,
      clientAuth: { methods: ['client_secret_post'], accepted: true },
    });
    expect(push!.form.has('request_uri')).toBe(false);
    expect([...provider.requestsTo('authorize')[0]!.query.keys()].sort()).toEqual(['client_id', 'request_uri']);
    const agents = [new UserAgent(), new UserAgent()];
    const [first, second] = await Promise.all(agents.map((agent) => bench.login({ agent })));
    expect([first!.subject, second!.subject]).toEqual(['user-1', 'user-1']);
    expect(new Set(provider.requestsTo('authorize').map(({ query }) => query.get('request_uri'))).size).toBe(3);
  });

  it('A-057 obeys a provider that demands it, and refuses par: false there', async () => {
    await using bench = await LoginBench.start({ provider: { requirePar: true } });
    expect(await bench.login()).toMatchObject({ subject: 'user-1' });
    expect(bench.provider.requestsTo('par')).toHaveLength(1);
    await using stubborn = await LoginBench.start({ provider: { requirePar: true }, client: { par: false } });
    expect(await stubborn.login()).toMatchObject({ status: 502, code: 'invalid_metadata' });
    expect(stubborn.provider.requestsTo('authorize')).toHaveLength(0);
  });

  it('A-058 C-002 swapping the request_uri of another browser gains nothing', async () => {
    await using bench = await LoginBench.start({ client: { par: true } });
    const [attacker, victim] = [new UserAgent(), new UserAgent()];
    const start = await attacker.navigate(`${bench.app.url}/auth/fake/login`, { followRedirects: false });
    await victim.navigate(`${bench.app.url}/auth/fake/login`, { followRedirects: false });
    const end = await victim.navigate(start.headers.get('location')!);
    expect(end.status).toBe(400);
    expect(bench.provider.requestsTo('code')).toHaveLength(0);
  });

  describe('answers to a push', () => {
    const answers: [string, Fault | ((bench: LoginBench) => void)][] = [
      ['200', { kind: 'status', status: 200, processed: true }],
      ['302', { kind: 'redirect', withJson: true }],
      ['HTML', { kind: 'html', carry: 'json' }],
      ['500', { kind: 'status', status: 500 }],
      ['silence', { kind: 'stall' }],
      ['a truncated answer', { kind: 'truncated' }],
      ['null', { kind: 'null' }],
      ['an oversize answer', { kind: 'oversize' }],
      ['its members with status 200', { kind: 'raw', body: '{"request_uri":"urn:x","expires_in":60}' }],
      [
        'an empty request_uri',
        ({ provider }) => void provider.tamper('parResponse', (body) => void (body.request_uri = '')),
      ],
      [
        'a list as request_uri',
        ({ provider }) => void provider.tamper('parResponse', (body) => void (body.request_uri = ['urn:x'])),
      ],
      ['no request_uri', ({ provider }) => void provider.tamper('parResponse', (body) => void delete body.request_uri)],
      [
        'a number as request_uri',
        ({ provider }) => void provider.tamper('parResponse', (body) => void (body.request_uri = 7)),
      ],
      ['no expires_in', ({ provider }) => void provider.tamper('parResponse', (body) => void delete body.expires_in)],
    ];
    let bench: LoginBench;
    beforeAll(async () => {
      bench = await LoginBench.start({ client: { par: true, timeout: 500 } });
    });
    beforeEach(async () => {
      bench.provider.reset();
      await bench.database.query('delete from oauth_states');
    });
    afterAll(() => bench?.[Symbol.asyncDispose]());

    it.each(answers)(
      'A-054 counts only a proper 201, not %s: an error page, and authorize is never reached',
      async (_name, fault) => {
        if (typeof fault === 'function') fault(bench);
        else bench.provider.fault('par', fault);
        const { status, subject, code, response } = await bench.login();
        expect(subject).toBeNull();
        expect([502, 503]).toContain(status);
        expect(code).toMatch(/^provider_(?:error|unavailable)$/);
        expect(response.headers.get('content-type')).toContain('text/html');
        expect(bench.provider.requestsTo('authorize')).toHaveLength(0);
        expect(await bench.database.query('select 1 from oauth_states')).toEqual([]);
      },
    );
  });
});

describe('signed request objects', () => {
  it.each([false, true])('signs the request (pushed: %s)', async (par) => {
    const { client, jwk } = await signingClient();
    await using bench = await LoginBench.start({
      provider: { clients: [{ ...client, clientSecret: 'secret' }], requireSignedRequestObject: true },
      client: {
        par,
        clientPrivateKey: jwk,
        clientAuthentication: 'client_secret_post',
        resource: ['https://a.example', 'https://b.example'],
      },
    });
    expect(await bench.login()).toMatchObject({ subject: 'user-1' });
    const [request] = bench.provider.requestsTo('authorize');
    expect([...request!.query.keys()].sort()).toEqual(['client_id', par ? 'request_uri' : 'request']);
  });

  it('refuses a provider that demands them where no key is configured', async () => {
    await using bench = await LoginBench.start({ provider: { requireSignedRequestObject: true } });
    expect(await bench.login()).toMatchObject({ status: 502, code: 'invalid_metadata' });
  });
});

describe('what else is asked', () => {
  it('sends resource, claims, authorization_details and what the application allows by name', async () => {
    const claims = { id_token: { email: { essential: true } } };
    const details = [{ type: 'payment', actions: ['read'] }];
    await using bench = await LoginBench.start({
      client: { resource: ['https://api.example'], claims, authorizationDetails: details, loginParams: ['login_hint'] },
    });
    const agent = new UserAgent();
    await agent.navigate(`${bench.app.url}/auth/fake/login?login_hint=ann&prompt=none&scope=admin`);
    const { query } = bench.provider.requestsTo('authorize')[0]!;
    expect(JSON.parse(query.get('claims')!)).toEqual(claims);
    expect(JSON.parse(query.get('authorization_details')!)).toEqual(details);
    expect(query.getAll('resource')).toEqual(['https://api.example']);
    expect([query.get('login_hint'), query.get('prompt'), query.get('scope')]).toEqual([
      'ann',
      null,
      'openid profile email',
    ]);
    expect(bench.provider.requestsTo('code')[0]!.form.getAll('resource')).toEqual(['https://api.example']);
  });
});

describe('security: fapi2', () => {
  it('A-016 turns on what the profile demands', async () => {
    const { client, jwk } = await signingClient();
    await using bench = await LoginBench.start({
      provider: { clients: [client], requirePar: true, requireDpop: true, idTokenAlg: 'PS256', dpopNonce: 'required' },
      client: { security: 'fapi2', clientSecret: undefined as never, clientPrivateKey: jwk },
    });
    expect(await bench.login()).toMatchObject({ subject: 'user-1' });
    const [push] = bench.provider.requestsTo('par');
    expect(push!.clientAuth!.methods).toEqual(['private_key_jwt']);
    bench.provider.configure({ idTokenAlg: 'RS256' });
    expect(await bench.login()).toMatchObject({ subject: null, code: 'invalid_id_token' });
  });

  it.each<[string, Record<string, unknown>]>([
    ['pushed requests', { pushed_authorization_request_endpoint: undefined }],
    ['iss', { authorization_response_iss_parameter_supported: false }],
    ['S256', { code_challenge_methods_supported: ['plain'] }],
    ['private_key_jwt', { token_endpoint_auth_methods_supported: ['client_secret_post'] }],
    ['DPoP', { dpop_signing_alg_values_supported: undefined }],
    ['strong ID tokens', { id_token_signing_alg_values_supported: ['RS256'] }],
  ])('refuses a provider without %s', async (_name, metadata) => {
    const { client, jwk } = await signingClient();
    await using bench = await LoginBench.start({
      provider: { clients: [client], metadata },
      client: { security: 'fapi2', clientSecret: undefined as never, clientPrivateKey: jwk },
    });
    expect(await bench.login()).toMatchObject({ status: 502, code: 'invalid_metadata' });
    expect(bench.provider.requests.map(({ endpoint }) => endpoint)).toEqual(['discovery']);
  });

  it('refuses at boot what contradicts the profile', async () => {
    const failing = (client: object) => LoginBench.start({ client: { security: 'fapi2', ...client } });
    await expect(failing({})).rejects.toThrow(/clientAuthentication: security: 'fapi2' demands/);
    await expect(failing({ par: false })).rejects.toThrow(/par: security: 'fapi2' demands pushed requests/);
    await expect(failing({ dpop: false })).rejects.toThrow(/dpop: security: 'fapi2'/);
  });
});
