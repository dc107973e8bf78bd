// A login or refresh that fails after its tokens were issued, at a provider where one revocation ends everything of the user: what
// was issued is taken back, but not where that would end a living grant.
import { setTimeout as sleep } from 'node:timers/promises';
import { oauth2 } from '../../../src/index.js';
import type { FakeProvider, JsonObject } from '../../../src/testing/index.js';
import { type Grants, startGrants, until } from '../../support/grants.js';
import { LoginBench } from '../../support/login-bench.js';
import { UserAgent } from '../../support/user-agent.js';

/** One login that goes wrong. */
type Failure = [name: string, arrange: (provider: FakeProvider) => unknown];

const claim = (name: string, value: unknown) => (provider: FakeProvider) =>
  provider.tamper('idToken', (claims: JsonObject) => void (claims[name] = value), { times: 1 });

const FAILURES: Failure[] = [
  ['E-014 userinfo is away', (provider) => provider.fault('userinfo', { kind: 'status', status: 503, times: 1 })],
  ['E-018 userinfo is HTML', (provider) => provider.fault('userinfo', { kind: 'html', times: 1 })],
  ['A-087 the nonce is of another login', claim('nonce', 'other')],
  ['A-085 the ID token is old', claim('iat', Math.floor(Date.now() / 1000) - 86_400)],
  ['A-084 the ID token has expired', claim('exp', Math.floor(Date.now() / 1000) - 120)],
  ['A-090 userinfo is about somebody else', (provider) =>
    provider.tamper('userinfo', (claims: JsonObject) => void (claims.sub = 'somebody-else'), { times: 1 })],
  ['A-088 the ID token belongs to another access token', claim('at_hash', 'AAAAAAAAAAAAAAAAAAAAAA')],
  ['A-078 the ID token is of another issuer', claim('iss', 'https://evil.example')],
  ['A-079 the ID token is for another client', claim('aud', 'other')],
  ['A-081 the signature is broken', (provider) => provider.forge('idToken', { kind: 'badSignature' }, { times: 1 })],
]; // prettier-ignore

/** Longer than a revocation behind the answer takes. */
const settled = (): Promise<void> => sleep(300);

async function failedLogin(grants: Grants, sub: string): Promise<void> {
  grants.provider.user({ sub });
  const answer = await new UserAgent().navigate(`${grants.app.url}/auth/fake/login?returnTo=/me`);
  expect(answer.status).toBeGreaterThanOrEqual(400);
}

describe('a failed login where one revocation ends everything of the user', () => {
  let grants: Grants;

  beforeAll(async () => {
    grants = await startGrants({ provider: { revocationScope: 'user' } });
  });
  afterAll(() => grants?.[Symbol.asyncDispose]());
  beforeEach(() => grants.provider.reset());

  it.each(FAILURES)('%s: a living grant of the person is left alone', async (name, arrange) => {
    const sub = `alive: ${name}`;
    const { grantId } = await grants.logIn(sub);
    arrange(grants.provider);
    await failedLogin(grants, sub);
    await settled();
    expect(grants.provider.revocations).toEqual([]);
    await grants.expire();
    expect((await grants.tokens.getAccessToken(grantId)).value).toBeTruthy();
  });

  it.each(FAILURES)('%s: what was issued to somebody without another grant is revoked', async (name, arrange) => {
    arrange(grants.provider);
    await failedLogin(grants, `new: ${name}`);
    await until(() => grants.provider.revocations.length === 2);
    expect(grants.provider.revocations).toMatchObject([
      { hint: 'refresh_token', effective: true },
      { hint: 'access_token' },
    ]);
  });

  it.each([
    ['A-094 named by the ID token', {}],
    ['A-084 A-094 named by an ID token that has expired', { exp: Math.floor(Date.now() / 1000) - 120 }],
    ['A-094 with an ID token of another issuer', { iss: 'https://evil.example' }],
  ])('%s: the grant of another person, whose tokens came at a refresh, is left alone', async (how, bend) => {
    const { provider } = grants;
    const sub = `other: ${how}`;
    const other = await grants.logIn(sub);
    const theirs = tokensOf(provider, sub);
    const { grantId } = await grants.logIn(`refreshed: ${how}`);
    await grants.expire();
    const changes = { sub, at_hash: undefined, ...bend };
    provider.tamper('idToken', (claims: JsonObject) => void Object.assign(claims, changes), { times: 1 });
    provider.tamper('tokenResponse', (body: JsonObject) => void Object.assign(body, theirs), { times: 1 });
    await expect(grants.tokens.getAccessToken(grantId)).rejects.toMatchObject({ code: 'reauth_required' });
    await settled();
    expect(provider.revocations).toEqual([]);
    expect((await grants.tokens.getAccessToken(other.grantId)).value).toBeTruthy();
  });

  it('leaves to expire what a provider without ID tokens issued, when it does not say to whom', async () => {
    let away = false;
    await using bench = await LoginBench.start({
      provider: { oidc: false, revocationScope: 'user' },
      providers: (provider) => [
        oauth2({
          name: 'fake',
          authorizationEndpoint: provider.endpoint('authorize'),
          tokenEndpoint: provider.endpoint('token'),
          revocationEndpoint: provider.endpoint('revoke'),
          clientId: 'client',
          clientSecret: 'secret',
          apiOrigins: [new URL(provider.apiUrl).origin],
          profile: async ({ json }) => {
            if (away) throw new Error('the profile is away');
            return { subject: ((await json(`${provider.apiUrl}/me`)) as { sub: string }).sub };
          },
        }),
      ],
    });
    expect(await bench.login()).toMatchObject({ subject: 'user-1' });
    const [living] = bench.provider.issued.filter(({ kind }) => kind === 'refreshToken');
    away = true;
    expect(await bench.login()).toMatchObject({ code: 'invalid_userinfo' });
    await settled();
    expect(bench.provider.revocations).toEqual([]);
    expect(bench.provider.isActive(living!.value)).toBe(true);
  });
});

describe('a failed login where a revocation ends one token', () => {
  let grants: Grants;

  beforeAll(async () => {
    grants = await startGrants({
      provider: { revocationScope: 'token' },
      definition: { revocation: 'token' },
    });
  });
  afterAll(() => grants?.[Symbol.asyncDispose]());
  beforeEach(() => grants.provider.reset());

  it.each(FAILURES)('%s: what was issued is revoked, and nothing else', async (name, arrange) => {
    const sub = `token: ${name}`;
    const { grantId } = await grants.logIn(sub);
    arrange(grants.provider);
    await failedLogin(grants, sub);
    await until(() => grants.provider.revocations.length === 2);
    await grants.expire();
    expect((await grants.tokens.getAccessToken(grantId)).value).toBeTruthy();
  });
});

/** The tokens that somebody was issued last, as members of a token answer. */
function tokensOf(provider: FakeProvider, sub: string): JsonObject {
  const last = (wanted: string) =>
    provider.issued.filter((one) => one.sub === sub && one.kind === wanted).at(-1)!.value;
  return { access_token: last('accessToken'), refresh_token: last('refreshToken') };
}
