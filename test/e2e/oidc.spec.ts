import { LoginBench } from '../support/login-bench.js';
import { UserAgent } from '../support/user-agent.js';
import type { Forgery, SigningAlgorithm } from '../../src/testing/index.js';
import type { JsonObject } from '../../src/testing/index.js';

/** A change of an ID token, and whether the login survives it. */
type Bend = [
  cases: string,
  name: string,
  change: (claims: JsonObject, header: JsonObject) => unknown,
  passes?: boolean,
];

const now = () => Math.floor(Date.now() / 1000);
const set =
  (...pairs: [string, unknown][]) =>
  (claims: JsonObject) => {
    for (const [name, value] of pairs) {
      if (value === undefined) delete claims[name];
      else claims[name] = value;
    }
  };

const BENDS: Bend[] = [
  ['A-078', 'iss missing', set(['iss', undefined])],
  ['A-078', 'iss of another', set(['iss', 'https://evil.example'])],
  ['A-078', 'iss with a trailing slash', (claims) => void (claims.iss = `${String(claims.iss)}/`)],
  ['A-078', 'iss in another case', (claims) => void (claims.iss = String(claims.iss).toUpperCase())],
  ['A-078', 'iss as a list', (claims) => void (claims.iss = [claims.iss])],
  ['A-078', 'iss with a placeholder', set(['iss', 'https://login.example/{tenantid}/v2.0'])],
  ['A-079', 'aud missing', set(['aud', undefined])],
  ['A-079', 'aud of another', set(['aud', 'other'])],
  ['A-079', 'aud one character longer', set(['aud', 'clientx'])],
  ['A-079', 'aud a number', set(['aud', 7])],
  ['A-079', 'aud a list of another', set(['aud', ['other']])],
  ['A-079', 'aud a list with another', set(['aud', ['client', 'other']])],
  ['A-079', 'aud a list of us alone', set(['aud', ['client']]), true],
  ['A-080', 'several audiences without azp', set(['aud', ['client', 'other']], ['azp', undefined])],
  ['A-080', 'azp of another', set(['azp', 'other'])],
  ['A-080', 'azp of us', set(['azp', 'client']), true],
  ['A-084', 'exp past the tolerance', set(['exp', now() - 120])],
  ['A-084', 'exp missing', set(['exp', undefined])],
  ['A-084', 'exp a string', set(['exp', String(now() + 600)])],
  ['A-084', 'exp 1e300', set(['exp', 1e300])],
  ['A-084', 'exp negative', set(['exp', -1])],
  ['A-085', 'iat missing', set(['iat', undefined])],
  ['A-085', 'iat 90 s ahead', (claims) => void (claims.iat = now() + 90)],
  ['A-085', 'iat long past', (claims) => void (claims.iat = now() - 86_400)],
  ['A-085', 'iat 45 s ahead', (claims) => void (claims.iat = now() + 45), true],
  ['A-086', 'nbf in the future', (claims) => void (claims.nbf = now() + 600)],
  ['A-086', 'an unknown crit', (_claims, header) => void (header.crit = ['b64'])],
  ['A-087', 'nonce missing', set(['nonce', undefined])],
  ['A-087', 'nonce of another', set(['nonce', 'other'])],
  ['A-087', 'nonce as a list', (claims) => void (claims.nonce = [claims.nonce])],
  ['A-087', 'nonce cut', (claims) => void (claims.nonce = String(claims.nonce).slice(0, -1))],
  ['A-088', 'at_hash wrong', set(['at_hash', 'AAAAAAAAAAAAAAAAAAAAAA'])],
  ['A-089', 'sub missing', set(['sub', undefined])],
  ['A-089', 'sub empty', set(['sub', ''])],
  ['A-089', 'sub of 256 characters', set(['sub', 's'.repeat(256)])],
  ['A-089', 'sub a number', set(['sub', 12])],
  ['A-089', 'sub with NUL', set(['sub', 'user\u0000-1'])],
  ['A-097', 'typ of an access token', (_claims, header) => void (header.typ = 'at+jwt')],
  ['A-097', 'typ of a logout token', (_claims, header) => void (header.typ = 'logout+jwt')],
];

const FORGERIES: [cases: string, name: string, forgery: Forgery][] = [
  ['A-081', 'a corrupted signature', { kind: 'badSignature' }],
  ['A-082', 'alg none', { kind: 'unsigned' }],
  ['A-082', 'alg None', { kind: 'unsigned', alg: 'None' }],
  ['A-082', 'alg nOnE', { kind: 'unsigned', alg: 'nOnE' }],
  ['A-082', 'no alg', { kind: 'unsigned', alg: null }],
  ['A-082', 'HS256 keyed with the public key as PEM', { kind: 'hmacPublicKey', format: 'pem' }],
  ['A-082', 'HS256 keyed with the public key as DER', { kind: 'hmacPublicKey', format: 'der' }],
  ['A-082', 'HS256 keyed with the public key as JWK', { kind: 'hmacPublicKey', format: 'jwk' }],
  ['A-081', 'a foreign key under a known name', { kind: 'foreignKey' }],
  ['A-081', 'an unknown key', { kind: 'unknownKid' }],
  ['A-086', 'a doubled member', { kind: 'payload', rewrite: (json) => `${json.slice(0, -1)},"sub":"admin"}` }],
  [
    'A-086',
    'a member doubled behind white space',
    { kind: 'payload', rewrite: (json) => `{"sub"${' '.repeat(200)}:"admin",${json.slice(1)}` },
  ],
  ['A-086', 'a payload that is a list', { kind: 'payload', rewrite: (json) => `[${json}]` }],
  ['A-086', 'a payload that is no JSON', { kind: 'payload', rewrite: () => 'hello' }],
];

describe('ID tokens', () => {
  let bench: LoginBench;
  beforeAll(async () => {
    // The same person has logged in before: where one revocation ended everything, nothing would be revoked.
    bench = await LoginBench.start({ client: { revocation: 'token' } });
  });
  beforeEach(() => bench.provider.reset());
  afterAll(() => bench?.[Symbol.asyncDispose]());

  it.each(BENDS)('%s %s', async (_cases, _name, change, passes = false) => {
    const { provider } = bench;
    provider.tamper('idToken', change);
    const { code, subject, status } = await bench.login();
    if (passes) return expect({ code, subject }).toEqual({ code: null, subject: 'user-1' });
    expect(subject).toBeNull();
    expect(status).toBeGreaterThanOrEqual(400);
    expect(['invalid_id_token', 'invalid_userinfo']).toContain(code);
    // nothing is used before the ID token holds, and what was issued is taken back.
    expect(provider.requestsTo('userinfo')).toHaveLength(0);
    await waitFor(() => provider.revocations.length === 2);
  });

  it.each(FORGERIES)('%s refuses %s', async (_cases, _name, forgery) => {
    const { provider } = bench;
    provider.forge('idToken', forgery);
    const { code, subject } = await bench.login();
    expect({ code, subject }).toEqual({ code: 'invalid_id_token', subject: null });
    expect(provider.requestsTo('userinfo')).toHaveLength(0);
    expect(provider.requestsTo('trap')).toHaveLength(0);
  });

  it.each(['jwk', 'jku', 'x5u'] as const)('E-099 ignores %s in the header and fetches nothing', async (by) => {
    bench.provider.forge('idToken', { kind: 'headerKey', by });
    expect(await bench.login()).toMatchObject({ code: 'invalid_id_token', subject: null });
    expect(bench.provider.requestsTo('trap')).toHaveLength(0);
  });

  it.each(['RS256', 'PS256', 'ES256', 'EdDSA'] as SigningAlgorithm[])(
    'A-081 verifies %s, and refuses it corrupted',
    async (alg) => {
      bench.provider.configure({ idTokenAlg: alg });
      expect(await bench.login()).toMatchObject({ code: null, subject: 'user-1' });
      bench.provider.forge('idToken', { kind: 'badSignature' });
      expect(await bench.login()).toMatchObject({ code: 'invalid_id_token', subject: null });
    },
  );

  it('A-076 refuses an answer without an ID token', async () => {
    bench.provider.tamper('tokenResponse', (body) => void delete body.id_token);
    expect(await bench.login()).toMatchObject({ subject: null, status: 502 });
  });

  it('A-077 refuses an encrypted ID token, which was never agreed on', async () => {
    bench.provider.tamper('tokenResponse', (body) => void (body.id_token = 'a.b.c.d.e'));
    expect(await bench.login()).toMatchObject({ subject: null, status: 502 });
  });

  it('A-097 refuses an access token, or another client’s ID token, in place of the ID token', async () => {
    const { provider } = bench;
    provider.configure({ accessTokenFormat: 'jwt' });
    provider.tamper('tokenResponse', (body) => void (body.id_token = body.access_token), { times: 1 });
    expect(await bench.login()).toMatchObject({ subject: null, code: 'invalid_id_token' });
    const claims = { iss: provider.issuer, sub: 'user-1', aud: 'other', iat: now(), exp: now() + 60 };
    provider.tamper('tokenResponse', (body) => void (body.id_token = provider.sign(claims)), { times: 1 });
    expect(await bench.login()).toMatchObject({ subject: null, code: 'invalid_id_token' });
    provider.tamper('tokenResponse', (body) => void (body.id_token = provider.logoutToken({ nonce: 'x' })), {
      times: 1,
    });
    expect(await bench.login()).toMatchObject({ subject: null, code: 'invalid_id_token' });
  });

  it('A-087 refuses the live nonce of another login', async () => {
    const { provider } = bench;
    const other = await bench.callbackOf(new UserAgent());
    expect(other.searchParams.get('code')).toBeTruthy();
    const nonce = provider.requestsTo('authorize')[0]!.query.get('nonce');
    provider.tamper('idToken', (claims) => void (claims.nonce = nonce));
    expect(await bench.login()).toMatchObject({ subject: null, code: 'invalid_id_token' });
  });

  it('A-089 never merges subjects that differ in case or white space', async () => {
    const users: string[] = [];
    for (const sub of ['Ann', 'ann', 'ann ']) {
      bench.provider.user({ sub });
      const { agent } = await bench.login();
      users.push((await agent.fetch(`${bench.app.url}/auth/session`)).json<{ user: { id: string } }>().user.id);
    }
    expect(new Set(users).size).toBe(3);
  });

  it('A-009 uses no token before the nonce was checked', async () => {
    const { provider, database } = bench;
    const before = await database.query('select count(*)::int as n from oauth_access_tokens');
    provider.tamper('idToken', (claims) => void (claims.nonce = 'wrong'));
    await bench.login();
    expect(provider.requestsTo('userinfo')).toHaveLength(0);
    expect(await database.query('select count(*)::int as n from oauth_access_tokens')).toEqual(before);
  });

  it('A-073 A-008 A-013 asks with openid, a fresh nonce of 256 bits, PKCE and state', async () => {
    await bench.login();
    const [request] = bench.provider.requestsTo('authorize');
    const query = request!.query;
    expect(query.get('scope')!.split(' ')).toContain('openid');
    for (const name of ['nonce', 'state', 'code_challenge']) expect(query.get(name)).toMatch(/^[\w-]{43}$/);
    expect(query.get('code_challenge_method')).toBe('S256');
    expect(query.get('response_type')).toBe('code');
    const rows = await bench.database.query('select * from oauth_states');
    expect(JSON.stringify(rows)).not.toContain(query.get('nonce'));
  });
});

describe('userinfo', () => {
  let bench: LoginBench;
  beforeAll(async () => {
    bench = await LoginBench.start();
  });
  beforeEach(() => bench.provider.reset());
  afterAll(() => bench?.[Symbol.asyncDispose]());

  it.each<[string, (claims: JsonObject) => unknown]>([
    ['the sub of another', (claims) => void (claims.sub = 'other')],
    ['no sub', (claims) => void delete claims.sub],
    ['a list as sub', (claims) => void (claims.sub = ['user-1'])],
    ['a list as answer', (claims) => [claims]],
    ['null as answer', () => 'null'],
  ])('A-090 refuses %s', async (_name, change) => {
    bench.provider.tamper('userinfo', change);
    expect(await bench.login()).toMatchObject({ subject: null, status: 502 });
  });

  it('A-091 accepts signed userinfo, and refuses a bad signature, audience or issuer', async () => {
    const { provider } = bench;
    provider.configure({ userinfoFormat: 'jwt' });
    expect(await bench.login()).toMatchObject({ subject: 'user-1' });
    for (const forgery of [{ kind: 'badSignature' }, { kind: 'unsigned' }, { kind: 'foreignKey' }] as Forgery[]) {
      provider.forge('userinfo', forgery, { times: 1 });
      expect(await bench.login()).toMatchObject({ subject: null, status: 502 });
    }
    for (const change of [{ aud: 'other' }, { iss: 'https://evil.example' }, { sub: 'other' }]) {
      provider.tamper('userinfo', (claims) => void Object.assign(claims, change), { times: 1 });
      expect(await bench.login()).toMatchObject({ subject: null, status: 502 });
    }
  });

  it('A-042 A-022 sends the access token in the header alone', async () => {
    const { agent } = await bench.login();
    await agent.fetch(`${bench.app.url}/me/api`);
    for (const endpoint of ['userinfo', 'api'] as const) {
      const [request] = bench.provider.requestsTo(endpoint);
      const token = request!.headers.authorization!.split(' ')[1]!;
      expect(bench.provider.issued.map(({ value }) => value)).toContain(token);
      expect(request!.rawUrl + request!.body).not.toContain(token);
    }
  });

  it('A-092 fetches no claim source', async () => {
    const { provider } = bench;
    provider.tamper(
      'userinfo',
      (claims) =>
        void Object.assign(claims, {
          _claim_names: { email: 'src1' },
          _claim_sources: { src1: { endpoint: provider.trapUrl, access_token: 'x' } },
        }),
    );
    expect(await bench.login()).toMatchObject({ subject: 'user-1' });
    expect(provider.requestsTo('trap')).toHaveLength(0);
  });
});

describe('demands', () => {
  it('A-074 judges max_age and acr of each attempt by its own', async () => {
    await using bench = await LoginBench.start({ client: { loginParams: ['max_age', 'acr_values'] } });
    const { provider, app } = bench;
    const attempt = async (query: string) => {
      const agent = new UserAgent();
      return bench.resultOf(agent, await agent.navigate(`${app.url}/auth/fake/login?returnTo=/me&${query}`));
    };
    provider.configure({ authAge: 3600 });
    expect(await attempt('max_age=60')).toMatchObject({
      subject: null,
      status: 403,
      code: 'insufficient_authentication',
    });
    expect(await attempt('max_age=7200')).toMatchObject({ subject: 'user-1' });
    provider.configure({ authTime: 'never' });
    expect(await attempt('max_age=7200')).toMatchObject({ subject: null });
    expect(await attempt('')).toMatchObject({ subject: 'user-1' });
    provider.configure({ acr: '1' });
    expect(await attempt('acr_values=2')).toMatchObject({ subject: null, code: 'insufficient_authentication' });
    expect(await attempt('acr_values=2+1')).toMatchObject({ subject: 'user-1' });
  });

  it.each(['login_required', 'interaction_required', 'consent_required', 'account_selection_required'])(
    'A-075 ends prompt=none with %s on a page',
    async (error) => {
      await using bench = await LoginBench.start({ client: { prompt: 'none' }, provider: { promptNoneError: error } });
      const { code, status, response } = await bench.login();
      expect({ code, status }).toEqual({ code: error, status: 403 });
      expect(response.hops.filter(({ url }) => url.includes('/authorize'))).toHaveLength(1);
    },
  );
});

describe('algorithms', () => {
  it('A-082 refuses RS256 where ES256 is pinned', async () => {
    await using bench = await LoginBench.start({ client: { idTokenSignedResponseAlg: 'ES256' } });
    expect(await bench.login()).toMatchObject({ subject: null, code: 'invalid_id_token' });
    bench.provider.configure({ idTokenAlg: 'ES256' });
    expect(await bench.login()).toMatchObject({ subject: 'user-1' });
  });

  it('A-083 takes HS256 only by opt-in, and never with a list of audiences', async () => {
    await using plain = await LoginBench.start({ provider: { idTokenAlg: 'HS256' } });
    expect(await plain.login()).toMatchObject({ subject: null, code: 'invalid_id_token' });
    await using opted = await LoginBench.start({
      provider: { idTokenAlg: 'HS256' },
      client: { idTokenSignedResponseAlg: 'HS256' },
    });
    expect(await opted.login()).toMatchObject({ subject: 'user-1' });
    opted.provider.tamper('idToken', (claims) => void (claims.aud = [claims.aud]), { times: 1 });
    expect(await opted.login()).toMatchObject({ subject: null, code: 'invalid_id_token' });
    for (const forgery of [{ kind: 'badSignature' }, { kind: 'hmacPublicKey' }, { kind: 'unsigned' }] as Forgery[]) {
      opted.provider.forge('idToken', forgery, { times: 1 });
      expect(await opted.login()).toMatchObject({ subject: null, code: 'invalid_id_token' });
    }
  });

  it.each(['html', 'text', 'noContentType'] as const)('E-018 A-081 believes no token in %s', async (kind) => {
    await using bench = await LoginBench.start();
    bench.provider.forge('idToken', { kind: 'foreignKey' });
    bench.provider.fault('code', { kind, carry: 'json' });
    expect(await bench.login()).toMatchObject({ subject: null, status: 502 });
    expect(bench.provider.requestsTo('userinfo')).toHaveLength(0);
  });

  it('A-081 checks the signature also where the token endpoint is spelled in an odd way', async () => {
    await using bench = await LoginBench.start();
    const { provider } = bench;
    const odd = provider.endpoint('token').replace('http://localhost', 'HTTP://LOCALHOST');
    provider.configure({ metadata: { token_endpoint: odd } });
    provider.forge('idToken', { kind: 'foreignKey' });
    expect(await bench.login()).toMatchObject({ subject: null, code: 'invalid_id_token' });
  });
});

async function waitFor(holds: () => boolean): Promise<void> {
  for (const deadline = Date.now() + 3_000; !holds();) {
    if (Date.now() > deadline) throw new Error('it never happened');
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
