// Client authentication at FakeProvider: each method accepted where it is right, and recorded.
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { exportJWK, generateKeyPair, type CryptoKey } from 'jose';
import * as oidc from 'openid-client';
import { FakeProvider, type FakeClient } from '../../../src/testing/index.js';
import { discover, failure, login } from './browser.js';

describe('FakeProvider, authenticating clients', () => {
  let provider: FakeProvider;

  beforeAll(async () => {
    provider = await FakeProvider.start();
  });
  afterAll(async () => {
    expect(provider.internalErrors).toEqual([]);
    await provider.close();
  });
  beforeEach(() => provider.reset());

  async function loginWith(client: FakeClient, auth: oidc.ClientAuth): Promise<void> {
    provider.addClient(client);
    await login(await discover(provider, auth, {}, client.clientId));
  }

  it('decodes Basic credentials as forms', async () => {
    const client: FakeClient = { clientId: 'a:b c', clientSecret: 'p%+/é:' };
    await loginWith(client, oidc.ClientSecretBasic(client.clientSecret));
    expect(provider.requestsTo('code')[0]?.clientAuth).toEqual({
      clientId: 'a:b c',
      methods: ['client_secret_basic'],
      accepted: true,
    });
    provider.configure({ basicDecoding: 'raw' });
    expect(await failure(loginWith(client, oidc.ClientSecretBasic(client.clientSecret)))).toBe(
      'OAUTH_WWW_AUTHENTICATE_CHALLENGE',
    );
  });

  it('accepts client_secret_jwt, with the issuer as audience', async () => {
    const clientSecret = 's'.repeat(32);
    await loginWith({ clientId: 'hmac', clientSecret }, oidc.ClientSecretJwt(clientSecret));
    const auth = provider.requestsTo('code')[0]?.clientAuth;
    expect(auth).toMatchObject({ methods: ['client_secret_jwt'], accepted: true });
    expect(auth?.assertion).toMatchObject({ iss: 'hmac', aud: provider.issuer });
  });

  it('accepts private_key_jwt by keys that may change, and each assertion once', async () => {
    const [old, fresh] = [await generateKeyPair('ES256'), await generateKeyPair('ES256')];
    let current: CryptoKey = old.publicKey;
    const client: FakeClient = {
      clientId: 'signer',
      tokenEndpointAuthMethod: 'private_key_jwt',
      jwks: async () => ({ keys: [await exportJWK(current)] }),
    };
    await loginWith(client, oidc.PrivateKeyJwt(old.privateKey));
    current = fresh.publicKey;
    expect(await failure(loginWith(client, oidc.PrivateKeyJwt(old.privateKey)))).toBe('invalid_client');
    await loginWith(client, oidc.PrivateKeyJwt(fresh.privateKey));
    const [request] = provider.requestsTo('code').slice(-1);
    const replayed = await fetch(provider.endpoint('token'), { method: 'POST', body: request?.form });
    expect(await replayed.json()).toMatchObject({ error: 'invalid_client' });
  });

  it('wants the audience of an assertion to be the issuer, unless told otherwise', async () => {
    const clientSecret = 's'.repeat(32);
    const elsewhere = oidc.ClientSecretJwt(clientSecret, {
      [oidc.modifyAssertion]: (_header, payload) => {
        payload.aud = provider.endpoint('token');
      },
    });
    expect(await failure(loginWith({ clientId: 'hmac', clientSecret }, elsewhere))).toBe('invalid_client');
    provider.configure({ assertionAudience: 'any' });
    await loginWith({ clientId: 'hmac', clientSecret }, elsewhere);
  });

  it('accepts public clients, but not in the place of confidential ones', async () => {
    await loginWith({ clientId: 'public' }, oidc.None());
    expect(provider.requestsTo('code')[0]?.clientAuth?.methods).toEqual(['none']);
    expect(await failure(loginWith({ clientId: 'client', clientSecret: 'secret' }, oidc.None()))).toBe(
      'invalid_client',
    );
  });

  it('refuses another method than the registered one, a wrong secret, and two methods at once', async () => {
    const basicOnly: FakeClient = {
      clientId: 'basic',
      clientSecret: 'x',
      tokenEndpointAuthMethod: 'client_secret_basic',
    };
    expect(await failure(loginWith(basicOnly, oidc.ClientSecretPost('x')))).toBe('invalid_client');
    expect(
      await failure(loginWith({ clientId: 'client', clientSecret: 'secret' }, oidc.ClientSecretPost('other'))),
    ).toBe('invalid_client');
    const both: oidc.ClientAuth = (server, client, body, headers) => {
      oidc.ClientSecretPost('x')(server, client, body, headers);
      oidc.ClientSecretBasic('x')(server, client, body, headers);
    };
    expect(await failure(loginWith({ clientId: 'both', clientSecret: 'x' }, both))).toBe('invalid_request');
    expect(provider.requestsTo('code').at(-1)?.clientAuth).toMatchObject({
      methods: ['client_secret_basic', 'client_secret_post'],
      accepted: false,
    });
    expect(provider.counters.codeExchanges).toBe(0);
  });

  it('does not give one client what belongs to another', async () => {
    provider.addClient({ clientId: 'other', clientSecret: 'secret' });
    const tokens = await login(await discover(provider));
    const other = await discover(provider, oidc.ClientSecretPost('secret'), {}, 'other');
    expect(await failure(oidc.refreshTokenGrant(other, tokens.refresh_token ?? ''))).toBe('invalid_grant');
    await oidc.tokenRevocation(other, tokens.refresh_token ?? '');
    expect(provider.isActive(tokens.refresh_token ?? '')).toBe(true);
  });
});
