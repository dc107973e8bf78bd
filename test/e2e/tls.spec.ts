// TLS towards the provider: certificates are checked at every endpoint, and one of our own authenticates us (RFC 8705).
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, get } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { inspect, promisify } from 'node:util';
import { gzipSync } from 'node:zlib';
import { uncheckedCertificates } from '../../src/options/certificate-checks.js';
import {
  type Fault,
  type FakeCertificate,
  type FakeProviderOptions,
  makeCertificate,
} from '../../src/testing/index.js';
import { oidc } from '../../src/index.js';
import { resolveOptions } from '../../src/options/resolve-options.js';
import { oidcOf, TEST_KEY } from '../support/app.js';
import { captureOutput } from '../support/captured-output.js';
import { codeOf, type LoginFixture, startLogin } from '../support/login-fixture.js';
import type { AgentResponse, UserAgent } from '../support/user-agent.js';

const MODULE = { baseUrl: 'https://app.example', encryption: { keys: [{ id: 'test', secret: TEST_KEY }] } };
const DEFINITION = oidc({ name: 'corp', issuer: 'https://idp.example', clientId: 'client', clientSecret: 'secret' });
const HOUR = 3_600_000;
const authority = makeCertificate({ commonName: 'Test Authority', hosts: [], authority: true });
const good = makeCertificate({ issuer: authority });
const BAD: readonly [what: string, certificate: FakeCertificate][] = [
  ['expired', makeCertificate({ issuer: authority, notBefore: new Date(Date.now() - 2 * HOUR), notAfter: new Date(Date.now() - HOUR) })],
  ['self-signed', makeCertificate()],
  ['made for another host', makeCertificate({ issuer: authority, hosts: ['other.example'] })],
]; // prettier-ignore

interface Impostor extends AsyncDisposable {
  readonly url: string;
  readonly hits: () => number;
}

/** A server that tells whoever comes through its certificate that all is well. */
async function impostor({ key, cert }: FakeCertificate): Promise<Impostor> {
  let hits = 0;
  const server = createServer({ key, cert }, (_request, response) => {
    hits += 1;
    response.setHeader('content-type', 'application/json').end('{}');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const close = (): Promise<void> => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(() => resolve()));
  };
  const url = `https://localhost:${(server.address() as AddressInfo).port}`;
  return { url, hits: () => hits, [Symbol.asyncDispose]: close };
}

function startTls(
  client: Partial<Parameters<typeof oidcOf>[1]> = {},
  provider: FakeProviderOptions = {},
): Promise<LoginFixture> {
  return startLogin({
    provider: { tls: { key: good.key, cert: good.cert }, ...provider },
    providers: (fake) => [oidcOf(fake, { tls: { ca: authority.cert }, timeout: 3_000, ...client })],
  });
}

/** Where the provider sends a browser that believes its authority. */
function consent(url: URL): Promise<string> {
  return new Promise((resolve, reject) => {
    get(url, { ca: authority.cert, agent: false }, (answer) => {
      answer.resume();
      resolve(answer.headers.location ?? `status ${answer.statusCode}`);
    }).on('error', reject);
  });
}

async function login(at: LoginFixture, agent: UserAgent): Promise<AgentResponse> {
  return at.callback(agent, await consent(await at.begin(agent)));
}

describe('certificates of the provider', () => {
  let at: LoginFixture;
  beforeAll(async () => {
    at = await startTls({ par: true });
  });
  afterAll(() => at?.close());

  it('A-041 believes the authority that the options name, at every endpoint', async () => {
    const agent = at.agent();
    expect((await login(at, agent)).status).toBe(303);
    at.provider.expireAccessTokens();
    expect((await agent.fetch(`${at.app.url}/me/api`)).json()).toMatchObject({ status: 200, body: { sub: 'user-1' } });
    for (const endpoint of ['discovery', 'par', 'code', 'jwks', 'userinfo', 'refresh', 'api'] as const)
      expect([endpoint, at.provider.requestsTo(endpoint).length > 0]).toEqual([endpoint, true]);
  });

  it.each<[string, Fault, number]>([
    ['a reset', { kind: 'reset' }, 503],
    ['silence', { kind: 'stall' }, 503],
    ['silence in mid-body', { kind: 'stall', at: 'body' }, 503],
    ['a body cut off', { kind: 'truncated' }, 503],
    ['a body without end', { kind: 'endless' }, 502],
    ['a gzip bomb', { kind: 'gzipBomb' }, 502],
    ['a redirect', { kind: 'redirect', withJson: true }, 502],
    ['a body that is no gzip', { kind: 'raw', body: '{}', contentType: 'application/json', headers: { 'content-encoding': 'gzip' } }, 503],
    ['an impossible status', { kind: 'raw', body: '{}', contentType: 'application/json', status: 999 }, 503],
    ['no content', { kind: 'raw', body: '', contentType: null, status: 204 }, 502],
  ])('with authorities of its own, %s ends in an answer, in time', async (_what, fault, status) => {
    at.provider.fault('code', { ...fault, times: 1 });
    const began = performance.now();
    const answer = await login(at, at.agent());
    expect([answer.status, performance.now() - began < 10_000]).toEqual([status, true]);
    at.provider.reset();
    expect((await login(at, at.agent())).status).toBe(303);
  }); // prettier-ignore

  it('with authorities of its own, a compressed answer is unpacked', async () => {
    const agent = at.agent();
    await login(at, agent);
    at.provider.fault('userinfo', {
      kind: 'raw',
      contentType: 'application/json',
      body: gzipSync(JSON.stringify({ sub: 'user-1', name: 'Packed' })),
      headers: { 'content-encoding': 'gzip' },
      times: 1,
    });
    expect((await login(at, agent)).status).toBe(303);
    const me = await agent.fetch(`${at.app.url}/me`);
    expect(me.json()).toMatchObject({ user: { profile: { name: 'Packed' } } });
  });

  describe.each(BAD)('%s', (_what, certificate) => {
    it.each([
      ['discovery', 'login'],
      ['pushed_authorization_request_endpoint', 'login'],
      ['token_endpoint', 'callback'],
      ['jwks_uri', 'callback'],
      ['userinfo_endpoint', 'callback'],
    ])('A-041 are refused at %s, and nothing is sent there', async (endpoint, step) => {
      await using strange = await impostor(certificate);
      const { url, hits } = strange;
      await using fixture = await startLogin({
        provider: { tls: { key: good.key, cert: good.cert } },
        providers: (fake) => [
          oidcOf(fake, {
            tls: { ca: authority.cert },
            par: true,
            timeout: 3_000,
            ...(endpoint === 'discovery' ? { issuer: url } : {}),
          }),
        ],
      });
      fixture.provider.tamper('metadata', (body) => void (body[endpoint] = `${url}/x`));
      const agent = fixture.agent();
      const answer =
        step === 'login'
          ? await agent.navigate(`${fixture.app.url}/auth/fake/login`, { followRedirects: false })
          : await login(fixture, agent);
      expect([answer.status, codeOf(answer), hits()]).toEqual([503, 'provider_unavailable', 0]);
      expect(await fixture.count('oauth_sessions')).toBe(0);
    });

    it('A-041 are refused at the revocation endpoint, and the token is kept for later', async () => {
      await using strange = await impostor(certificate);
      const { url, hits } = strange;
      await using fixture = await startTls({ revocationEndpoint: `${url}/revoke` });
      const agent = fixture.agent();
      expect((await login(fixture, agent)).status).toBe(303);
      expect((await agent.fetch(`${fixture.app.url}/auth/logout`, { method: 'POST' })).status).toBe(200);
      const tried = async (): Promise<boolean> =>
        (await fixture.database.query('select 1 from oauth_revocations where attempts > 0')).length > 0;
      for (let wait = 0; wait < 100 && !(await tried()); wait++) await sleep(50);
      expect([await tried(), hits()]).toEqual([true, 0]);
    });

    it('A-041 are refused by an API', async () => {
      await using strange = await impostor(certificate);
      const { url, hits } = strange;
      await using fixture = await startTls({ apiOrigins: [url] });
      const agent = fixture.agent();
      expect((await login(fixture, agent)).status).toBe(303);
      const session = (await agent.fetch(`${fixture.app.url}/auth/session`)).json<{ id: string }>();
      const [grant] = await fixture.database.query('select grant_id as id from oauth_sessions where id = $1', [
        session.id,
      ]);
      await expect(fixture.app.tokens.fetch(String(grant!.id), `${url}/me`)).rejects.toMatchObject({
        code: 'provider_unavailable',
      });
      expect(hits()).toBe(0);
    });
  });

  it("A-041 holds as well where requests go over Node's own fetch", async () => {
    const folder = mkdtempSync(join(tmpdir(), 'nest-oauth-client-tls-'));
    writeFileSync(join(folder, 'ca.pem'), authority.cert);
    const servers = await Promise.all([good, ...BAD.map(([, certificate]) => certificate)].map(impostor));
    const script = `
      const { requestProvider } = await import('./src/providers/http-door.ts');
      for (const url of ${JSON.stringify(servers.map(({ url }) => url))})
        console.log(await requestProvider({ url, timeout: 5000, provider: 'x' }).then(({ status }) => status, ({ code, ambiguous }) => code + ' ' + ambiguous));`;
    const { NODE_OPTIONS: _, ...env } = process.env;
    const { stdout } = await promisify(execFile)(
      process.execPath,
      ['--no-warnings', '--import', './test/support/typescript.mjs', '--input-type=module', '-e', script],
      { cwd: fileURLToPath(new URL('../../', import.meta.url)), env: { ...env, NODE_EXTRA_CA_CERTS: join(folder, 'ca.pem') } },
    ); // prettier-ignore
    expect(stdout.trim().split('\n')).toEqual(['200', ...BAD.map(() => 'provider_unavailable false')]);
    expect(servers.map(({ hits }) => hits())).toEqual([1, 0, 0, 0]);
    for (const server of servers) await server[Symbol.asyncDispose]();
    rmSync(folder, { recursive: true });
  });

  it('A-041 says loudly at boot that NODE_TLS_REJECT_UNAUTHORIZED=0 leaves certificates unchecked; TLS options stay checked', async () => {
    expect(uncheckedCertificates({ NODE_TLS_REJECT_UNAUTHORIZED: '1' })).toBeUndefined();
    const before = process.env.NODE_TLS_REJECT_UNAUTHORIZED;
    const output = captureOutput();
    await using strange = await impostor(BAD[1]![1]);
    const { url, hits } = strange;
    process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0';
    try {
      await using fixture = await startLogin({
        logger: output.logger,
        provider: { tls: { key: good.key, cert: good.cert } },
        providers: (fake) => [oidcOf(fake, { issuer: url, tls: { ca: authority.cert } })],
      });
      expect(output.text).toMatch(/\[logger\.error\] alarm .*certificates_unchecked.*NOT checked/);
      const answer = await fixture.agent().navigate(`${fixture.app.url}/auth/fake/login`, { followRedirects: false });
      expect([answer.status, hits()]).toEqual([503, 0]);
    } finally {
      if (before === undefined) delete process.env.NODE_TLS_REJECT_UNAUTHORIZED;
      else process.env.NODE_TLS_REJECT_UNAUTHORIZED = before;
      output.restore();
    }
  });
});

describe('a client certificate', () => {
  const mine = makeCertificate({ issuer: authority, commonName: 'our application', hosts: [] });
  const provider: FakeProviderOptions = {
    tls: { key: good.key, cert: good.cert, ca: authority.cert },
    clients: [{ clientId: 'client', tokenEndpointAuthMethod: 'tls_client_auth', tlsSubjectCommonName: 'our application' }],
  }; // prettier-ignore
  const options = (own: FakeCertificate) => ({
    clientSecret: undefined as never,
    clientAuthentication: 'tls_client_auth' as const,
    tls: { key: own.key, cert: own.cert, ca: authority.cert },
    par: true,
  });

  it('authenticates every request: pushed, for tokens, for new ones, and to revoke', async () => {
    await using at = await startTls(options(mine), provider);
    const agent = at.agent();
    expect((await login(at, agent)).status).toBe(303);
    at.provider.expireAccessTokens();
    expect((await agent.fetch(`${at.app.url}/me/api`)).json()).toMatchObject({ status: 200 });
    await agent.fetch(`${at.app.url}/auth/logout`, { method: 'POST' });
    for (let wait = 0; wait < 100 && at.provider.revocations.length === 0; wait++) await sleep(50);
    for (const endpoint of ['par', 'code', 'refresh', 'revocation'] as const) {
      const [request] = at.provider.requestsTo(endpoint);
      expect([endpoint, request?.clientAuth]).toMatchObject([
        endpoint,
        { methods: ['tls_client_auth'], accepted: true },
      ]);
      expect(request!.body).not.toContain('client_secret');
    }
  });

  it.each<[string, Parameters<typeof startTls>[0]]>([
    ['tls_client_auth', options(mine)],
    ['another way to authenticate', { tls: { key: mine.key, cert: mine.cert, ca: authority.cert }, par: true }],
  ])('is shown where the metadata says, with %s (RFC 8705 §5)', async (_what, given) => {
    const clients = given!.clientAuthentication ? provider.clients! : [{ clientId: 'client', clientSecret: 'secret' }];
    await using at = await startTls(given, { ...provider, clients });
    // The same endpoints by another address, as if the server asked for certificates there alone.
    const names = { par: 'pushed_authorization_request', token: 'token', revoke: 'revocation', userinfo: 'userinfo' };
    const aliases = (Object.keys(names) as (keyof typeof names)[]).map((path) => [
      `${names[path]}_endpoint`,
      `${at.provider.endpoint(path)}?alias`,
    ]);
    at.provider.tamper('metadata', (body) => void (body.mtls_endpoint_aliases = Object.fromEntries(aliases)));
    expect((await login(at, at.agent())).status).toBe(303);
    for (const endpoint of ['par', 'code', 'userinfo'] as const)
      expect([endpoint, at.provider.requestsTo(endpoint)[0]?.query.has('alias')]).toEqual([endpoint, true]);
  });

  it.each([
    ['a certificate without its key', { cert: mine.cert }, /tls: cert and key belong together/],
    ['the key of another certificate', { cert: mine.cert, key: good.key }, /tls: key is not the private key of cert/],
    ['no certificate', { cert: 'x', key: mine.key }, /tls: cert is no certificate in PEM/],
    ['no key', { cert: mine.cert, key: 'canary' }, /tls: key is no private key in PEM/],
    ['no authority', { ca: ['x'] }, /tls.ca: must be certificates in PEM/],
    ['nothing', {}, /tls: is empty/],
    ['an unknown member', { cert: mine.cert, key: mine.key, pem: 'x' }, /tls.pem: is not an option/],
    ['a dispatcher beside it', { ca: authority.cert, dispatcher: {} }, /tls: excludes dispatcher/],
  ])(
    'with %s is an error at boot that shows no key',
    (_what, { dispatcher, ...tls }: Record<string, unknown>, said) => {
      const definition = { ...DEFINITION, tls, ...(dispatcher === undefined ? {} : { dispatcher }) };
      const boot = () => resolveOptions({ ...MODULE, providers: [definition as never] });
      expect(boot).toThrow(said);
      expect(boot).toThrow(expect.not.objectContaining({ message: expect.stringContaining('canary') }));
    },
  );

  it('is needed for tls_client_auth, and does not show when printed', () => {
    const asked = { ...DEFINITION, clientSecret: undefined, clientAuthentication: 'tls_client_auth' as const };
    expect(() => resolveOptions({ ...MODULE, providers: [asked as never] })).toThrow(
      /tls: tls_client_auth needs a client certificate/,
    );
    const { providers } = resolveOptions({
      ...MODULE,
      providers: [{ ...asked, tls: { cert: mine.cert, key: mine.key } }],
    });
    expect(inspect(providers[0]!.dispatcher, { showHidden: true })).not.toContain('PRIVATE KEY');
  });

  it('of somebody else is refused: the operator is told, nobody is logged in', async () => {
    const theirs = makeCertificate({ issuer: authority, commonName: 'somebody', hosts: [] });
    await using at = await startTls({ ...options(theirs), par: false }, provider);
    const answer = await login(at, at.agent());
    expect([answer.status, codeOf(answer)]).toEqual([502, 'client_rejected']);
    expect(await at.count('oauth_sessions')).toBe(0);
  });
});
