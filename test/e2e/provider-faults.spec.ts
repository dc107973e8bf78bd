import type { Endpoint, Fault } from '../../src/testing/index.js';
import { oidcOf } from '../support/app.js';
import { LoginBench } from '../support/login-bench.js';

const TIMEOUT = 600;

/** Every way an endpoint can misbehave, by case. */
const FAULTS: [cases: string, fault: Fault][] = [
  ['E-014 500', { kind: 'status', status: 500 }],
  ['E-014 503', { kind: 'status', status: 503, retryAfter: 7 }],
  ['E-014 429', { kind: 'status', status: 429, retryAfter: 7 }],
  ['E-015 silence', { kind: 'stall' }],
  ['E-015 stall in the body', { kind: 'stall', at: 'body' }],
  ['E-015 drip', { kind: 'drip', intervalMs: 300 }],
  ['E-016 closed in mid-body', { kind: 'truncated' }],
  ['E-016 content-length too long', { kind: 'truncated', how: 'contentLength' }],
  ['E-017 64 MiB', { kind: 'oversize' }],
  ['E-017 endless', { kind: 'endless' }],
  ['E-017 gzip bomb', { kind: 'gzipBomb' }],
  ['E-018 HTML', { kind: 'html', carry: 'json' }],
  ['E-018 text', { kind: 'text', carry: 'json' }],
  ['E-018 no content type', { kind: 'noContentType', carry: 'json' }],
  ['E-019 null', { kind: 'null' }],
  ['E-019 array', { kind: 'array' }],
  ['E-019 string', { kind: 'string' }],
  ['E-019 number', { kind: 'number' }],
  ['E-019 empty object', { kind: 'emptyObject' }],
  ['E-019 empty body', { kind: 'emptyBody' }],
  ['E-019 BOM', { kind: 'bom' }],
  ['E-019 NUL', { kind: 'nul' }],
  ['E-019 __proto__', { kind: 'protoKeys' }],
  ['E-019 doubled keys', { kind: 'doubledKeys' }],
  ['E-020 nested arrays', { kind: 'deepNesting', depth: 400_000 }],
  ['E-021 301', { kind: 'redirect', status: 301, withJson: true }],
  ['E-021 302', { kind: 'redirect', status: 302, withJson: true }],
  ['E-021 307', { kind: 'redirect', status: 307 }],
  ['E-021 308', { kind: 'redirect', status: 308 }],
  ['E-032 reset', { kind: 'reset' }],
  ['E-033 late', { kind: 'lateAnswer', ms: 2 * TIMEOUT }],
];

const ENDPOINTS = ['code', 'userinfo', 'jwks', 'discovery', 'par'] as const satisfies Endpoint[];
/** The member that each answer cannot do without. */
const MEMBER = {
  code: 'access_token',
  userinfo: 'sub',
  jwks: 'keys',
  discovery: 'issuer',
  par: 'request_uri',
} as const;

describe('faults', () => {
  let bench: LoginBench;
  beforeAll(async () => {
    // A provider of its own for each case: metadata and keys are cached per provider.
    bench = await LoginBench.start({
      providers: (provider) =>
        ENDPOINTS.flatMap((endpoint) =>
          FAULTS.map((_, index) =>
            oidcOf(provider, { name: `${endpoint}-${index}`, timeout: TIMEOUT, par: endpoint === 'par' }),
          ),
        ),
    });
  });
  beforeEach(() => bench.provider.reset());
  afterAll(() => bench?.[Symbol.asyncDispose]());

  describe.each(ENDPOINTS)('of %s', (endpoint) => {
    it.each(FAULTS.map(([title, fault], index) => ({ title, fault, index })))(
      '$title: an error in time, and nothing kept',
      async ({ fault, index }) => {
        const name = `${endpoint}-${index}`;
        bench.provider.fault(endpoint, fault.kind === 'doubledKeys' ? { ...fault, member: MEMBER[endpoint] } : fault);
        const heap = process.memoryUsage().rss;
        const began = performance.now();
        const before = await bench.database.query('select id from oauth_sessions order by id');
        const states = await bench.database.query('select state_hash from oauth_states');
        const { status, subject } = await bench.login({ name });
        expect(subject).toBeNull();
        expect([502, 503]).toContain(status);
        expect(performance.now() - began).toBeLessThan(3 * TIMEOUT + 3_000);
        expect(process.memoryUsage().rss - heap).toBeLessThan(200 * 2 ** 20);
        expect(bench.provider.requestsTo('trap')).toEqual([]);
        expect(bench.provider.requestsTo('code').length).toBeLessThanOrEqual(1);
        expect(await bench.database.query('select id from oauth_sessions order by id')).toEqual(before);
        if (endpoint === 'par' || endpoint === 'discovery') {
          // No way around it through the browser, and nothing remembered of a login that never began.
          expect(bench.provider.requestsTo('authorize')).toEqual([]);
          expect(await bench.database.query('select state_hash from oauth_states')).toEqual(states);
        }
        expect(({} as { polluted?: unknown }).polluted).toBeUndefined();
        // The process lives, and so does the next login.
        bench.provider.clearFaults();
        expect(await bench.login({ name })).toMatchObject({ subject: 'user-1' });
      },
    );
  });
});

describe('token answers', () => {
  let bench: LoginBench;
  beforeAll(async () => {
    bench = await LoginBench.start();
  });
  beforeEach(() => bench.provider.reset());
  afterAll(() => bench?.[Symbol.asyncDispose]());

  it.each<[string, unknown]>([
    ['E-022 a list', ['x']],
    ['E-022 a number', 7],
    ['E-022 empty', ''],
    ['E-022 a line break', 'a\r\nset-cookie: b=c'],
  ])('refuses an access token that is %s', async (_name, value) => {
    bench.provider.tamper('tokenResponse', (body) => void (body.access_token = value));
    expect(await bench.login()).toMatchObject({ subject: null, status: 502 });
  });

  it.each(['mac', 'N_A', undefined])('A-040 refuses the token type %s', async (type) => {
    bench.provider.tamper('tokenResponse', (body) => void (body.token_type = type));
    expect(await bench.login()).toMatchObject({ subject: null, status: 502 });
  });

  it('takes a thousand scopes, and no more, which would cost the database seconds', async () => {
    const scopes = (count: number) => Array.from({ length: count }, (_, at) => `scope:${at}`).join(' ');
    const given = (count: number) =>
      bench.provider.tamper('tokenResponse', (body) => void (body.scope = scopes(count)));
    const end = given(1_000);
    expect(await bench.login()).toMatchObject({ subject: 'user-1' });
    end();
    given(3_000);
    for (let time = 0; time < 2; time++)
      expect(await bench.login()).toMatchObject({ subject: null, status: 502, code: 'invalid_token_response' });
  });

  it('A-040 takes bEaReR', async () => {
    bench.provider.tamper('tokenResponse', (body) => void (body.token_type = 'bEaReR'));
    expect(await bench.login()).toMatchObject({ subject: 'user-1' });
  });

  it.each([400, 401, 200])('A-038 recognises an error with status %s', async (status) => {
    bench.provider.fault('code', { kind: 'oauthError', error: 'invalid_client', status });
    expect(await bench.login()).toMatchObject({ subject: null, code: 'client_rejected' });
  });

  it.each(['code', 'par'] as const)(
    'A-038 recognises it at %s beside a challenge (RFC 6749 §5.2)',
    async (endpoint) => {
      await using pushing = await LoginBench.start({ client: { par: true } });
      pushing.provider.fault(endpoint, {
        kind: 'status',
        status: 401,
        contentType: 'application/json',
        headers: { 'www-authenticate': 'Basic realm="tokens"' },
        body: '{"error":"invalid_client"}',
      });
      expect(await pushing.login()).toMatchObject({ subject: null, code: 'client_rejected' });
    },
  );

  it.each<[unknown, number | null]>([
    ['3600', 3600],
    [undefined, null],
    [null, null],
    ['abc', null],
    ['3600abc', null],
    [1e300, 315_360_000],
    [3599.9, 3599],
    [true, null],
    ['9223372036854775808', null],
    [0, 0],
    [-1, 0],
  ])('E-026 E-027 E-028 reads expires_in %p as %p', async (given, expected) => {
    bench.provider.tamper('tokenResponse', (body) => void (body.expires_in = given));
    expect(await bench.login()).toMatchObject({ subject: 'user-1' });
    const [row] = await bench.database.query(
      'select round(extract(epoch from expires_at - issued_at))::float8 as seconds from oauth_access_tokens order by issued_at desc limit 1',
    );
    expect(row!.seconds).toBe(expected);
  });

  it.each([16, 64])('A-037 keeps an access token of %s KB', async (kilobytes) => {
    bench.provider.configure({ accessTokenSize: kilobytes * 1024 });
    const { agent, subject } = await bench.login();
    expect(subject).toBe('user-1');
    const token = bench.provider.issued.filter(({ kind }) => kind === 'accessToken').at(-1)!.value;
    expect(token.length).toBeGreaterThanOrEqual(kilobytes * 1024);
    expect((await agent.fetch(`${bench.app.url}/me`)).status).toBe(200);
  });
});
