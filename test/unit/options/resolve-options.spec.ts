// Options: everything wrong is reported together, with its path and what to write instead; secrets are never printed.
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { OAuthConfigError } from '../../../src/errors/oauth-error.js';
import type { OAuthModuleOptions } from '../../../src/options/options.js';
import { resolveOptions } from '../../../src/options/resolve-options.js';
import { github, google, oauth2, oidc } from '../../../src/providers/index.js';
import '../../support/fixed-seed.js';

const SECRET = randomBytes(32).toString('base64url');
const corp = {
  name: 'corp',
  issuer: 'https://login.corp.example',
  clientId: 'id',
  clientSecret: 'canary-client-secret',
};
const good: OAuthModuleOptions = {
  baseUrl: 'https://app.example',
  encryption: { keys: [{ id: '2026-11', secret: SECRET }] },
  providers: [oidc(corp)],
};

/** The problems of options that are wrong on purpose. */
function problems(changes: Record<string, unknown>): readonly string[] {
  try {
    resolveOptions({ ...good, ...changes });
    return [];
  } catch (error) {
    if (!(error instanceof OAuthConfigError)) throw error;
    return error.problems;
  }
}
const ofProvider = (changes: object): readonly string[] => problems({ providers: [{ ...oidc(corp), ...changes }] });

describe('options', () => {
  it('fills in the documented defaults, and freezes the result', () => {
    const resolved = resolveOptions(good);
    expect(resolved).toMatchObject({
      baseUrl: 'https://app.example',
      origin: 'https://app.example',
      secure: true,
      errorRedirect: null,
      postLogoutRedirect: 'https://app.example/',
      session: {
        idleTimeout: 43_200,
        absoluteTimeout: 604_800,
        cache: 'off',
        cacheSize: 10_000,
        stalenessBound: 5,
        touchInterval: 60,
        maxPerUser: null,
      },
      login: { stateLifetime: 300, maxPendingPerBrowser: 50, maxPending: 1_000_000 },
      refresh: { floor: 30, ahead: 0.8, keepAlive: 0 },
      databaseTimeout: 5_000,
      cleanup: { interval: 60, batchSize: 1_000 },
    });
    expect(
      Object.isFrozen(resolved) && Object.isFrozen(resolved.session) && Object.isFrozen(resolved.providers[0]),
    ).toBe(true);
  });

  it('reports everything wrong together, each with its path', () => {
    const found = problems({
      baseUrl: 'http://app.example',
      encryption: { keys: [{ id: 'a', secret: 'short' }] },
      providers: [oidc({ ...corp, issuer: '/relative' }), oidc({ ...corp, clientSecret: undefined })],
      session: { idleTimeot: 5, absoluteTimeout: -1 },
      databaseTimeout: 'fast',
    });
    for (const path of [
      'baseUrl:',
      'encryption.keys[0].secret:',
      'providers[0].issuer:',
      'providers[1].clientSecret:',
      'providers[1].name: "corp" is used twice',
      'session.idleTimeot:',
      'session.absoluteTimeout:',
      'databaseTimeout:',
    ])
      expect(found.join('\n')).toContain(path);
    expect(found.join('\n')).toContain('did you mean "idleTimeout"?');
  });

  it.each([
    'http://app.example',
    'app.example',
    '/app',
    'https://app.example#x',
    'https://*.example',
    'https://app.example?x=1',
    'myapp://cb',
    'https://user:canary@app.example',
    '',
    undefined,
    null,
    5,
    'https://app.example\\@evil.com',
    'javascript:alert(1)',
    'http://localhost.evil.com',
    'http://127.0.0.1.nip.io',
  ])('A-018 A-030 refuses %j as base URL', (baseUrl) => {
    const found = problems({ baseUrl });
    expect(found).toHaveLength(1);
    expect(found[0]).toMatch(/^baseUrl: must be /);
    expect(found[0]).not.toContain('canary');
  });

  it.each([
    'https://app.example',
    'https://app.example/',
    'https://app.example:8443/base/',
    'http://localhost:3000',
    'http://127.0.0.1:3000',
    'http://[::1]:3000',
  ])('A-018 takes %s as base URL', (baseUrl) => {
    const { baseUrl: resolved, secure } = resolveOptions({ ...good, baseUrl });
    expect(resolved).toBe(baseUrl.replace(/\/$/, ''));
    expect(secure).toBe(baseUrl.startsWith('https:'));
  });

  it.each([
    ['31 bytes', randomBytes(31).toString('base64url')],
    ['33 bytes', randomBytes(33).toString('base64url')],
    ['mistyped', `${SECRET.slice(0, 20)}!${SECRET.slice(21)}`],
    ['all zero', Buffer.alloc(32).toString('base64url')],
    ['one byte repeated', Buffer.alloc(32, 7).toString('hex')],
    ['empty', ''],
    ['missing', undefined],
    ['a number', 5],
    ['an array of 31 bytes', new Uint8Array(31).fill(1)],
  ])('D-026 D-044 refuses a key that is %s, and does not print it', (_, secret) => {
    const found = problems({ encryption: { keys: [{ id: 'current', secret }] } });
    expect(found).toHaveLength(1);
    expect(found[0]).toMatch(/^encryption\.keys\[0\]\.secret: .*"current"/);
    if (typeof secret === 'string' && secret !== '') expect(found[0]).not.toContain(secret);
  });

  it('D-026 refuses a repeated id and a repeated key', () => {
    const other = randomBytes(32);
    expect(problems({ encryption: { keys: [{ id: 'a', secret: SECRET }, { id: 'a', secret: other }] } })).toEqual([expect.stringContaining('encryption.keys[1].id')]); // prettier-ignore
    expect(problems({ encryption: { keys: [{ id: 'a', secret: SECRET }, { id: 'b', secret: Buffer.from(SECRET, 'base64url') }] } })).toEqual([expect.stringContaining('encryption.keys[1].secret')]); // prettier-ignore
  });

  it('D-044 does not print a secret that took the place of the id', () => {
    const found = problems({ encryption: { keys: [{ id: SECRET, secret: '2026-11' }] } });
    expect(found).toEqual([expect.stringContaining('exchanged')]);
    expect(found.join()).not.toContain(SECRET);
  });

  it('takes keys as base64url, base64, hex and bytes', () => {
    const bytes = randomBytes(32);
    for (const secret of [
      bytes.toString('base64url'),
      bytes.toString('base64'),
      bytes.toString('hex'),
      bytes.toString('hex').toUpperCase(),
      bytes,
      new Uint8Array(bytes),
    ])
      expect(problems({ encryption: { keys: [{ id: 'a', secret }] } })).toEqual([]);
  });

  it('D-044 A-115 prints no secret, whatever is wrong around it', () => {
    const canary = 'canary-secret-value';
    const wrong = [
      { providers: oidc({ ...corp, clientSecret: canary }) },
      { providers: { corp: { clientSecret: canary } } },
      { providers: [canary] },
      { providers: [oidc({ ...corp, clientSecret: [canary] as unknown as string })] },
      { providers: [oidc({ ...corp, clientSecret: { value: canary } as unknown as string })] },
      { providers: [oidc({ ...corp, issuer: `https://u:${canary}@x.example` })] },
      { providers: [{ ...oidc(corp), clientPrivateKey: { kty: 'oct', d: canary, k: canary } }] },
      { providers: [{ ...oidc(corp), clientPrivateKey: canary }] },
      { encryption: { keys: [canary] } },
      { encryption: canary },
      { encryption: { keys: { a: canary } } },
      { encryption: { secret: canary } },
      { listen: { url: `mysql://u:${canary}@x` } },
      { listen: canary },
      { baseUrl: { value: canary } },
      { session: { idleTimeout: { value: canary } } },
    ];
    for (const changes of wrong) {
      const found = problems(changes);
      expect(found.length).toBeGreaterThan(0);
      expect(found.join('\n')).not.toContain(canary);
    }
  });

  it('unknown keys are errors that name the nearest known one', () => {
    expect(problems({ baseURL: 'x' })).toEqual(['baseURL: is not an option; did you mean "baseUrl"?']);
    expect(ofProvider({ scopes: ['x'] })).toEqual(['providers[0].scopes: is not an option; did you mean "scope"?']);
    expect(problems({ login: { lifetime: 5 } }).join()).toContain('known are stateLifetime');
    expect(problems({ usePkce: false, state: false, nonce: false })).toHaveLength(3);
  });

  it.each([{ global: true }, { routePrefix: 'x' }, { dataSource: 'x' }, { isGlobal: true }])(
    'refuses %j inside the result of a factory',
    (extra) => {
      expect(problems(extra)).toEqual([expect.stringContaining('beside useFactory')]);
    },
  );

  it.each([
    [{ name: 'Corp' }, 'name'],
    [{ name: 'a/b' }, 'name'],
    [{ name: '' }, 'name'],
    [{ name: 'login' }, 'name'],
    [{ name: '__proto__' }, 'name'],
    [{ clientId: '' }, 'clientId'],
    [{ clientSecret: '' }, 'clientSecret'],
    [{ clientSecret: undefined }, 'clientSecret'],
    [{ issuer: 'http://login.corp.example' }, 'issuer'],
    [{ issuer: 'login.corp.example' }, 'issuer'],
    [{ tokenEndpoint: '/token' }, 'tokenEndpoint'],
    [{ tokenEndpoint: 'http://x.example/token' }, 'tokenEndpoint'],
    [{ tokenEndpoint: 'https://x.example/token#x' }, 'tokenEndpoint'],
    [{ tokenEndpoint: 'https://u:p@x.example/token' }, 'tokenEndpoint'],
    [{ apiOrigins: ['https://x.example/path'] }, 'apiOrigins[0]'],
    [{ apiOrigins: 'https://x.example' }, 'apiOrigins'],
    [{ scope: 'a b' }, 'scope'],
    [{ scope: ['a b'] }, 'scope'],
    [{ authorizationParams: { state: 'x' } }, 'authorizationParams'],
    [{ authorizationParams: { code_challenge_method: 'plain' } }, 'authorizationParams'],
    [{ authorizationParams: { x: 5 } }, 'authorizationParams.x'],
    [{ authorizationParams: 'x=y' }, 'authorizationParams'],
    [{ loginParams: ['redirect_uri'] }, 'loginParams'],
    [{ loginParams: 'login_hint' }, 'loginParams'],
    [{ idTokenSignedResponseAlg: 'none' }, 'idTokenSignedResponseAlg'],
    [{ clientAuthentication: 'basic' }, 'clientAuthentication'],
    [{ clientAuthentication: 'private_key_jwt' }, 'clientPrivateKey'],
    [{ clientAuthentication: 'none' }, 'clientAuthentication'],
    [{ timeout: 0 }, 'timeout'],
    [{ maxAge: '60' }, 'maxAge'],
    [{ maxAge: -1 }, 'maxAge'],
    [{ grant: 'user' }, 'grant'],
    [{ responseMode: 'fragment' }, 'responseMode'],
    [{ profile: 'x' }, 'profile'],
    [{ displayName: 5 }, 'displayName'],
    [{ kind: 'saml' }, ''],
  ])('A-008 A-010 A-030 A-115 refuses a provider with %j', (changes, path) => {
    const found = ofProvider(changes);
    expect(found.length).toBeGreaterThan(0);
    expect(found.some((problem) => problem.startsWith(path ? `providers[0].${path}` : 'providers[0]'))).toBe(true);
  });

  it('D-043 refuses weak client keys', () => {
    const rsa = (bits: number) =>
      generateKeyPairSync('rsa', { modulusLength: bits }).privateKey.export({ format: 'jwk' });
    const ec = (namedCurve: string) => generateKeyPairSync('ec', { namedCurve }).privateKey.export({ format: 'jwk' });
    const given = (clientPrivateKey: unknown) => ofProvider({ clientSecret: undefined, clientPrivateKey });
    expect(given(rsa(1024)).join()).toContain('2048');
    expect(given(ec('secp256k1'))).toHaveLength(1);
    expect(given({ ...ec('P-256'), d: undefined }).join()).toContain('private');
    for (const odd of [null, 5, 'key', {}, []]) expect(given(odd).length).toBeGreaterThan(0);
    for (const fine of [rsa(2048), ec('P-256'), ec('P-384'), [ec('P-256'), rsa(2048)]]) expect(given(fine)).toEqual([]);
  });

  it('A-115 a public client must be written out', () => {
    expect(ofProvider({ clientSecret: undefined }).join()).toContain(`clientAuthentication: 'none'`);
    expect(ofProvider({ clientSecret: undefined, clientAuthentication: 'none' })).toEqual([]);
  });

  it('refuses an empty list of providers, and duplicate names', () => {
    for (const providers of [[], undefined, null, 'github'])
      expect(problems({ providers })).toEqual([expect.stringMatching(/^providers: must be a list/)]);
    expect(problems({ providers: [oidc(corp), oidc(corp)] })).toEqual(['providers[1].name: "corp" is used twice']);
  });

  it.each([
    { session: { maxPerUser: 1.5 } },
    { session: { maxPerUser: 0 } },
    { login: { maxPendingPerBrowser: 2.5 } },
    { login: { maxPending: NaN } },
    { login: { stateLifetime: Infinity } },
    { cleanup: { batchSize: 0.5 } },
    { cleanup: true },
    { session: null },
    { onLogin: 'x' },
    { routes: 'maybe' },
    { returnToOrigins: ['https://x.example/'] },
    { returnToOrigins: 'https://x.example' },
    { csrf: { exemptPaths: ['hooks'] } },
    { csrf: { exemptPaths: ['/'] } },
    { csrf: { exemptPaths: ['/hooks/*'] } },
    { csrf: { exemptPaths: ['/hooks/:id'] } },
    { csrf: { exemptPaths: ['/hooks?x'] } },
    { csrf: { exemptPaths: ['/hooks#x'] } },
    { csrf: { exemptPaths: ['//hooks'] } },
    { csrf: { exemptPaths: ['/a/../hooks'] } },
    { csrf: { exemptPaths: ['/hooks/%62'] } },
    { csrf: { exemptPaths: ['/hooks\\x'] } },
    { csrf: { exemptPaths: ['https://app.example.com/hooks'] } },
    { csrf: { exemptPaths: '/hooks' } },
    { csrf: { exemptPaths: [/hooks/] } },
    { csrf: { exemptOrigins: ['https://*.example.com'] } },
    { csrf: { exemptOrigins: ['https://admin.example.com/'] } },
    { csrf: { exemptOrigins: ['http://admin.example.com'] } },
    { csrf: { exemptOrigins: ['null'] } },
    { csrf: { exempt: ['/hooks'] } },
    { csrf: false },
    { errorRedirect: '//evil.com' },
    { errorRedirect: 'javascript:alert(1)' },
    { postLogoutRedirect: '/\\evil.com' },
    { postLogoutRedirect: 'http://x.example' },
    { listen: {} },
  ])('refuses %j', (changes) => {
    expect(problems(changes).length).toBeGreaterThan(0);
  });

  it('the presets are complete', () => {
    const client = { clientId: 'id', clientSecret: 'secret' };
    const acme = oauth2({
      name: 'acme',
      authorizationEndpoint: 'https://x.example/a',
      tokenEndpoint: 'https://x.example/t',
      profile: () => ({ subject: 1 }),
      ...client,
    });
    expect(problems({ providers: [github(client), google(client), acme] })).toEqual([]);
    expect(resolveOptions({ ...good, providers: [acme] }).providers[0]).toMatchObject({
      issuer: 'oauth2:acme',
      syntheticIssuer: true,
      grant: 'account',
      revocation: 'grant',
    });
  });

  it('whatever is given, the answer is a list of problems and never a crash', () => {
    const any = fc.anything({ withBigInt: true, withDate: true, withMap: true, withNullPrototype: true });
    const options = fc.record(
      { baseUrl: any, encryption: any, providers: fc.oneof(any, fc.array(any), fc.array(fc.dictionary(fc.constantFrom('kind', 'name', 'issuer', 'scope', 'clientPrivateKey', 'apiOrigins', 'loginParams', 'authorizationParams', 'profile'), any))), session: any, login: any, refresh: any, cleanup: any, listen: any, returnToOrigins: any, csrf: fc.oneof(any, fc.record({ exemptPaths: any, exemptOrigins: any })), errorRedirect: any, postLogoutRedirect: any },
      { requiredKeys: [] },
    ); // prettier-ignore
    fc.assert(
      fc.property(options, (given) => void problems(given)),
      { numRuns: 2_000 },
    );
    fc.assert(
      fc.property(any, (given) => expect(() => resolveOptions(given as OAuthModuleOptions)).toThrow(OAuthConfigError)),
    );
  });
});
