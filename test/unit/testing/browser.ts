// What the specs of FakeProvider need besides openid-client: somebody who follows one redirect and reads forms.
import * as oidc from 'openid-client';
import type { FakeProvider } from '../../../src/testing/index.js';

export const CALLBACK = 'http://localhost:9/callback';

export const INSECURE = { execute: [oidc.allowInsecureRequests] };

/** Discovers a fake provider the way an independent client does. */
export function discover(
  provider: FakeProvider,
  auth: oidc.ClientAuth = oidc.ClientSecretPost('secret'),
  metadata: Partial<oidc.ClientMetadata> = {},
  clientId = 'client',
): Promise<oidc.Configuration> {
  return oidc.discovery(new URL(provider.issuer), clientId, metadata, auth, INSECURE);
}

/** Parameters of one login attempt, and what to check its answer with. */
export async function attempt(extra: Record<string, string> = {}): Promise<{
  params: Record<string, string>;
  checks: oidc.AuthorizationCodeGrantChecks;
}> {
  const [pkceCodeVerifier, expectedState, expectedNonce] = [
    oidc.randomPKCECodeVerifier(),
    oidc.randomState(),
    oidc.randomNonce(),
  ];
  const params = {
    redirect_uri: CALLBACK,
    scope: 'openid profile',
    code_challenge: await oidc.calculatePKCECodeChallenge(pkceCodeVerifier),
    code_challenge_method: 'S256',
    state: expectedState,
    nonce: expectedNonce,
    ...extra,
  };
  return { params, checks: { pkceCodeVerifier, expectedState, expectedNonce, idTokenExpected: true } };
}

/** Opens an authorization URL and returns where the browser is sent. */
export async function follow(url: URL | string): Promise<URL> {
  const answer = await fetch(url, { redirect: 'manual' });
  const location = answer.headers.get('location');
  if (location === null) throw new Error(`no redirect but ${answer.status}: ${await answer.text()}`);
  return new URL(location);
}

/** A whole login by code flow with PKCE. */
export async function login(
  config: oidc.Configuration,
  extra: Record<string, string> = {},
  options?: oidc.AuthorizationCodeGrantOptions & oidc.DPoPOptions,
): Promise<oidc.TokenEndpointResponse & oidc.TokenEndpointResponseHelpers> {
  const { params, checks } = await attempt(extra);
  const callback = await follow(oidc.buildAuthorizationUrl(config, params));
  return oidc.authorizationCodeGrant(config, callback, checks, undefined, options);
}

/** The hidden fields of a page's form, and its action. */
export function readForm(page: string): { action: string; fields: URLSearchParams } {
  const unescape = (text: string): string =>
    text.replace(/&#(\d+);/g, (_, code: string) => String.fromCharCode(Number(code)));
  const fields = [...page.matchAll(/name="([^"]*)" value="([^"]*)"/g)].map(([, name = '', value = '']) => [
    unescape(name),
    unescape(value),
  ]);
  return {
    action: unescape(/action="([^"]*)"/.exec(page)?.[1] ?? ''),
    fields: new URLSearchParams(fields as [string, string][]),
  };
}

/** The OAuth error code, or the library's own code, that a promise fails with. */
export async function failure(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
  } catch (error) {
    const { error: oauth, code, message } = error as { error?: string; code?: string; message: string };
    return oauth ?? code ?? message;
  }
  throw new Error('it succeeded');
}
