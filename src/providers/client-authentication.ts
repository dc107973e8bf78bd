// How this client proves who it is at the provider's endpoints (RFC 6749 §2.3, RFC 7521, OIDC Core §9).
import { importJWK, type JWK } from 'jose';
import * as client from 'openid-client';
import type { ResolvedProvider } from '../options/resolve-provider.js';

/**
 * The client authentication for a provider. `client_secret_post` unless the metadata lists only Basic (many servers
 * mis-decode percent-encoded Basic credentials) or the configuration says otherwise.
 * @param supported `token_endpoint_auth_methods_supported` of the metadata
 */
export async function clientAuthentication(
  definition: ResolvedProvider,
  supported: readonly string[] | undefined,
): Promise<client.ClientAuth> {
  const secret = definition.clientSecret;
  const method =
    definition.clientAuthentication ?? (onlyBasic(supported) ? 'client_secret_basic' : 'client_secret_post');
  switch (method) {
    case 'none':
      return client.None();
    case 'client_secret_basic':
      return client.ClientSecretBasic(secret);
    case 'client_secret_post':
      return client.ClientSecretPost(secret);
    case 'client_secret_jwt':
      return client.ClientSecretJwt(secret);
    case 'private_key_jwt':
      return client.PrivateKeyJwt(await importPrivateKey(definition.clientPrivateKeys[0]!));
    case 'tls_client_auth':
    case 'self_signed_tls_client_auth':
      return client.TlsClientAuth();
  }
}

/** A private JWK as the protocol library signs with it, under its name if it has one. */
export async function importPrivateKey(given: object): Promise<client.PrivateKey> {
  const jwk = given as JWK;
  const alg = jwk.alg ?? defaultAlgorithm(jwk);
  const key = (await importJWK({ ...jwk, alg }, alg)) as client.CryptoKey;
  return { key, ...(typeof jwk.kid === 'string' ? { kid: jwk.kid } : {}) };
}

function defaultAlgorithm({ kty, crv }: JWK): string {
  if (kty === 'RSA') return 'PS256';
  if (kty === 'OKP') return 'Ed25519';
  return crv === 'P-521' ? 'ES512' : crv === 'P-384' ? 'ES384' : 'ES256';
}

function onlyBasic(supported: readonly string[] | undefined): boolean {
  return (
    supported !== undefined && supported.includes('client_secret_basic') && !supported.includes('client_secret_post')
  );
}
