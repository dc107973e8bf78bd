import { exportJWK, generateKeyPair } from 'jose';
import type { oidc } from '../../src/index.js';
import type { FakeClient } from '../../src/testing/index.js';
import { LoginBench } from '../support/login-bench.js';

type ClientOptions = Partial<Parameters<typeof oidc>[0]>;

async function keyPair(alg: string, kid: string) {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true });
  return {
    jwk: { ...(await exportJWK(privateKey)), kid, alg },
    published: { ...(await exportJWK(publicKey)), kid, alg },
  };
}

/** A login and a refresh; then every request with credentials used exactly this method, and no URL holds the secret. */
async function logsInBy(method: string, client: FakeClient, options: ClientOptions): Promise<LoginBench> {
  const bench = await LoginBench.start({ provider: { clients: [client] }, client: options });
  const { provider, app } = bench;
  const { agent, subject } = await bench.login();
  expect(subject).toBe('user-1');
  provider.expireAccessTokens();
  expect((await agent.fetch(`${app.url}/me/api`)).json()).toMatchObject({ status: 200 });
  expect(provider.refreshCount).toBe(1);
  for (const { clientAuth } of provider.requestsTo('token'))
    expect(clientAuth).toMatchObject({ methods: [method], accepted: true });
  for (const { rawUrl } of provider.requests) expect(rawUrl).not.toContain(client.clientSecret ?? 'client_assertion');
  return bench;
}

describe('client authentication', () => {
  it.each(['client_secret_post', 'client_secret_basic', 'client_secret_jwt'] as const)(
    'A-028 uses %s and nothing besides',
    async (method) => {
      const client = {
        clientId: 'client',
        clientSecret: 'a-secret-of-32-characters-length',
        tokenEndpointAuthMethod: method,
      };
      const options = { clientSecret: client.clientSecret, clientAuthentication: method };
      await using _bench = await logsInBy(method, client, options);
    },
  );

  it('A-027 form-encodes id and secret before Basic', async () => {
    const client = { clientId: 'a:b c', clientSecret: 'p%+/é:' };
    const options = { clientId: client.clientId, clientSecret: client.clientSecret };
    await using bench = await logsInBy('client_secret_basic', client, {
      ...options,
      clientAuthentication: 'client_secret_basic',
    });
    expect(bench.provider.requestsTo('code')[0]!.clientAuth!.clientId).toBe('a:b c');
  });

  it('takes Basic where the metadata lists only that, else the body', async () => {
    await using bench = await LoginBench.start({
      provider: { metadata: { token_endpoint_auth_methods_supported: ['client_secret_basic'] } },
    });
    await bench.login();
    expect(bench.provider.requestsTo('code')[0]!.clientAuth!.methods).toEqual(['client_secret_basic']);
  });

  it.each(['RS256', 'PS256', 'ES256', 'Ed25519'])(
    'A-016 A-120 signs assertions with %s for the issuer as one string',
    async (alg) => {
      const { jwk, published } = await keyPair(alg, 'k1');
      const client = { clientId: 'client', jwks: { keys: [published] } };
      const options = { clientSecret: undefined as never, clientPrivateKey: jwk };
      await using bench = await logsInBy('private_key_jwt', client, options);
      const assertions = bench.provider.requestsTo('token').map(({ clientAuth }) => clientAuth!.assertion!);
      for (const assertion of assertions) expect(assertion.aud).toBe(bench.provider.issuer);
      expect(new Set(assertions.map(({ jti }) => jti)).size).toBe(assertions.length);
    },
  );

  it('A-120 names its own issuer also where the token endpoint is on another host', async () => {
    const { jwk, published } = await keyPair('ES256', 'k1');
    await using bench = await LoginBench.start({
      provider: { clients: [{ clientId: 'client', jwks: { keys: [published] } }] },
      client: { clientSecret: undefined as never, clientPrivateKey: jwk },
    });
    const { provider } = bench;
    provider.configure({ metadata: { token_endpoint: provider.endpoint('token').replace('localhost', '127.0.0.1') } });
    expect(await bench.login()).toMatchObject({ subject: 'user-1' });
    expect(provider.requestsTo('code')[0]!.clientAuth!.assertion!.aud).toBe(provider.issuer);
  });

  it('signs with the first of several keys, so that keys can be rotated', async () => {
    const [older, newer] = [await keyPair('ES256', 'old'), await keyPair('ES256', 'new')];
    const client = { clientId: 'client', jwks: { keys: [older.published, newer.published] } };
    const options = { clientSecret: undefined as never, clientPrivateKey: [newer.jwk, older.jwk] };
    await using bench = await logsInBy('private_key_jwt', client, options);
    const kids = bench.provider.requestsTo('token').map(({ form }) => {
      const [header] = form.get('client_assertion')!.split('.');
      return (JSON.parse(Buffer.from(header!, 'base64url').toString()) as { kid?: string }).kid;
    });
    expect(kids).toEqual(['new', 'new']);
  });

  it('needs no credential where `none` is written out', async () => {
    await using bench = await LoginBench.start({
      provider: { clients: [{ clientId: 'client', tokenEndpointAuthMethod: 'none' }] },
      client: { clientSecret: undefined as never, clientAuthentication: 'none' },
    });
    expect(await bench.login()).toMatchObject({ subject: 'user-1' });
    expect(bench.provider.requestsTo('code')[0]!.clientAuth!.methods).toEqual(['none']);
  });

  it('D-043 refuses weak and unknown keys at boot', async () => {
    const boot = (clientPrivateKey: object) =>
      LoginBench.start({ client: { clientSecret: undefined as never, clientPrivateKey } });
    await expect(boot({ kty: 'RSA', n: 'AQAB', e: 'AQAB', d: 'AQAB' })).rejects.toThrow(/at least 2048 bits/);
    await expect(boot({ kty: 'EC', crv: 'secp256k1', x: 'a', y: 'b', d: 'c' })).rejects.toThrow(/must be RSA, EC/);
  });
});
