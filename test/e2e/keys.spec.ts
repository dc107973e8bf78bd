import { jest } from '@jest/globals';
import { oidcOf } from '../support/app.js';
import { LoginBench } from '../support/login-bench.js';
import type { DecoyKind, JsonObject } from '../../src/testing/index.js';

describe('keys and discovery', () => {
  it('A-017 E-096 C-028 follows keys that were replaced between logins, with one fetch', async () => {
    await using bench = await LoginBench.start();
    const { provider } = bench;
    await bench.login();
    await provider.rotateKeys({ keepOld: false });
    provider.clearRequests();
    expect(await bench.login()).toMatchObject({ subject: 'user-1' });
    expect(provider.requestsTo('jwks')).toHaveLength(1);
    expect(provider.requestsTo('discovery')).toHaveLength(0);
  });

  it('E-097 fetches once in a storm of unknown keys', async () => {
    await using bench = await LoginBench.start();
    const { provider } = bench;
    await bench.login();
    provider.clearRequests();
    provider.forge('idToken', { kind: 'unknownKid' });
    for (let attempt = 0; attempt < 8; attempt++) expect((await bench.login()).subject).toBeNull();
    expect(provider.requestsTo('jwks')).toHaveLength(1);
  });

  it.each(['sameKidOtherAlg', 'sameKidOtherKty', 'encryptionUse', 'privateMember', 'weakRsa'] as DecoyKind[])(
    'E-098 E-100 is not led astray by a decoy key: %s',
    async (kind) => {
      await using bench = await LoginBench.start();
      bench.provider.addDecoyKeys(kind);
      expect(await bench.login()).toMatchObject({ subject: 'user-1' });
      // A published key for ES256 is the provider's own, whatever its name; it may sign ES256 tokens.
      if (kind === 'sameKidOtherKty') return;
      bench.provider.forge('idToken', { kind: 'decoyKey' });
      expect(await bench.login()).toMatchObject({ subject: null });
    },
  );

  it('E-100 refuses a set of a thousand keys without stalling', async () => {
    await using bench = await LoginBench.start();
    bench.provider.addDecoyKeys('thousand');
    const began = performance.now();
    expect(await bench.login()).toMatchObject({ subject: null, status: 502 });
    expect(performance.now() - began).toBeLessThan(3_000);
  });

  it('E-101 goes on with known keys while the key endpoint is down', async () => {
    await using bench = await LoginBench.start();
    await bench.login();
    bench.provider.fault('jwks', { kind: 'reset' });
    bench.provider.clearRequests();
    // The monotonic clock, by which the age of keys is told: ten minutes later they would be fetched again.
    const now = performance.now.bind(performance);
    const later = jest.spyOn(performance, 'now').mockImplementation(() => now() + 600_000);
    try {
      expect(await bench.login()).toMatchObject({ subject: 'user-1' });
      expect(bench.provider.requestsTo('jwks').length).toBeGreaterThan(0);
      // Not for ever: a key that was withdrawn meanwhile must not be believed.
      later.mockImplementation(() => now() + 5_000_000);
      expect(await bench.login()).toMatchObject({ subject: null });
    } finally {
      later.mockRestore();
    }
  });

  it('E-103 starts while the provider is down, and works once it is back', async () => {
    let down: Promise<unknown> | undefined;
    await using bench = await LoginBench.start({
      providers: (provider) => {
        down = provider.goDown();
        return [oidcOf(provider, { timeout: 2_000 })];
      },
    });
    await down;
    expect(await bench.login()).toMatchObject({ status: 503, code: 'provider_unavailable' });
    await bench.provider.comeBack();
    expect(await bench.login()).toMatchObject({ subject: 'user-1' });
  });

  it.each<[string, (body: JsonObject) => void]>([
    ['A-051 another issuer', (body) => void (body.issuer = 'https://evil.example')],
    ['A-051 a trailing slash', (body) => void (body.issuer = `${String(body.issuer)}/`)],
    ['A-051 another case', (body) => void (body.issuer = String(body.issuer).toUpperCase())],
    ['A-052 plain http', (body) => void (body.token_endpoint = 'http://idp.example/token')],
    ['A-052 user info in a URL', (body) => void (body.token_endpoint = 'https://a:b@idp.example/token')],
    ['A-052 a script', (body) => void (body.authorization_endpoint = 'javascript:alert(1)')],
    ['A-052 no token endpoint', (body) => void delete body.token_endpoint],
    ['A-052 a list as endpoint', (body) => void (body.jwks_uri = ['https://idp.example'])],
  ])('refuses metadata with %s, and redirects nowhere', async (_name, change) => {
    await using bench = await LoginBench.start();
    bench.provider.tamper('metadata', change);
    const { status, code, response } = await bench.login();
    expect({ status, code }).toEqual({ status: 502, code: 'invalid_metadata' });
    expect(response.hops).toHaveLength(1);
  });

  it('A-010 sends PKCE, state and nonce whatever the metadata says', async () => {
    await using bench = await LoginBench.start({
      provider: { metadata: { code_challenge_methods_supported: undefined } },
    });
    await bench.login();
    const { query } = bench.provider.requestsTo('authorize')[0]!;
    for (const name of ['state', 'nonce', 'code_challenge']) expect(query.get(name)).toMatch(/^[\w-]{43}$/);
  });
});
