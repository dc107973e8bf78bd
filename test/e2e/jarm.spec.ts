import { LoginBench } from '../support/login-bench.js';
import { UserAgent } from '../support/user-agent.js';
import type { Forgery, JsonObject } from '../../src/testing/index.js';

describe('signed authorization responses (JARM)', () => {
  let bench: LoginBench;
  beforeAll(async () => {
    bench = await LoginBench.start({ client: { responseMode: 'jwt' } });
  });
  beforeEach(() => bench.provider.reset());
  afterAll(() => bench?.[Symbol.asyncDispose]());

  it('logs in by a response that is one JWT', async () => {
    expect(await bench.login()).toMatchObject({ subject: 'user-1', code: null });
    expect(bench.provider.requestsTo('authorize')[0]!.query.get('response_mode')).toBe('jwt');
  });

  it.each<[string, Forgery]>([
    ['a corrupted signature', { kind: 'badSignature' }],
    ['no signature', { kind: 'unsigned' }],
    ['a foreign key', { kind: 'foreignKey' }],
    ['a public key as MAC key', { kind: 'hmacPublicKey' }],
    ['doubled members', { kind: 'payload', rewrite: (json) => `${json.slice(0, -1)},"code":"x"}` }],
  ])('refuses %s', async (_name, forgery) => {
    bench.provider.forge('jarm', forgery);
    expect(await bench.login()).toMatchObject({ subject: null, status: 400 });
    expect(bench.provider.requestsTo('code')).toHaveLength(0);
  });

  it.each<[string, (claims: JsonObject) => void]>([
    ['another issuer', (claims) => void (claims.iss = 'https://evil.example')],
    ['another audience', (claims) => void (claims.aud = 'other')],
    ['no expiry', (claims) => void delete claims.exp],
    ['an expiry that is past', (claims) => void (claims.exp = 1)],
    ['another state', (claims) => void (claims.state = 'A'.repeat(43))],
  ])('refuses %s', async (_name, change) => {
    bench.provider.tamper('jarm', change);
    expect(await bench.login()).toMatchObject({ subject: null, status: 400 });
    expect(bench.provider.requestsTo('code')).toHaveLength(0);
  });

  it('believes no parameter outside the JWT', async () => {
    const agent = new UserAgent();
    const callback = await bench.callbackOf(agent);
    const state = bench.provider.requestsTo('authorize')[0]!.query.get('state')!;
    const plain = new URL(callback);
    plain.search = new URLSearchParams({ state, code: 'x', iss: bench.provider.issuer }).toString();
    expect((await agent.navigate(plain.href)).status).toBe(400);
    callback.searchParams.set('code', 'x');
    expect((await agent.navigate(callback.href)).status).toBe(400);
    callback.searchParams.delete('code');
    expect((await agent.navigate(callback.href)).url).toBe(`${bench.app.url}/me`);
  });

  it('tells of an error inside the JWT', async () => {
    bench.provider.fault('authorize', { kind: 'oauthError', error: 'access_denied' });
    expect(await bench.login()).toMatchObject({ code: 'access_denied', status: 403 });
  });
});
