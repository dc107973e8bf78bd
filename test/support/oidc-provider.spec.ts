import { afterAll, beforeAll, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { createHash, randomBytes } from 'node:crypto';
import { createRemoteJWKSet, decodeJwt, jwtVerify } from 'jose';
import { startOidcProvider, type OidcProvider } from './oidc-provider.mjs';
import { UserAgent, type AgentResponse } from './user-agent.js';

interface Tokens {
  access_token?: string;
  refresh_token?: string;
  id_token?: string;
  expires_in?: number;
}

const client = { client_id: 'app', client_secret: 'a secret of thirty-two characters' };
const callback = 'http://localhost:1/callback';
const warnings = jest.spyOn(console, 'warn');
const notices = jest.spyOn(console, 'info');

describe('startOidcProvider', () => {
  let provider: OidcProvider;
  beforeAll(async () => {
    const registered = { ...client, redirect_uris: [callback], post_logout_redirect_uris: ['http://localhost:1/bye'] };
    provider = await startOidcProvider({ clients: [registered], acrValues: ['urn:strong'] });
  });
  afterAll(() => provider.close());
  beforeEach(() => {
    provider.requests.length = 0;
    provider.autoSignIn = undefined;
  });

  const verifier = randomBytes(32).toString('base64url');
  const challenge = createHash('sha256').update(verifier).digest('base64url');
  const basic = {
    client_id: client.client_id,
    redirect_uri: callback,
    response_type: 'code',
    scope: 'openid profile email',
  };

  function authorizeUrl(more: Record<string, string> = {}, pkce = true): string {
    const proof: Record<string, string> = pkce ? { code_challenge: challenge, code_challenge_method: 'S256' } : {};
    return `${provider.issuer}/auth?${new URLSearchParams({ ...basic, ...proof, state: 'st', nonce: 'no', ...more })}`;
  }

  /** Follows the provider's redirects until it sends the browser back to the application, which does not run here. */
  async function untilCallback(agent: UserAgent, step: Promise<AgentResponse>): Promise<URL> {
    for (let page = await step; ;) {
      const location = page.headers.get('location');
      if (!location) throw new Error(`Not sent back: ${page.status} ${page.body}`);
      const next = new URL(location, page.url);
      if (next.origin !== provider.issuer) return next;
      page = await agent.navigate(next.href, { followRedirects: false });
    }
  }

  async function signIn(agent: UserAgent, more: Record<string, string> = {}): Promise<URL> {
    const page = await agent.navigate(authorizeUrl(more));
    return untilCallback(agent, agent.submitForm(page, { fields: { username: 'alice' }, followRedirects: false }));
  }

  async function token(fields: Record<string, string>) {
    const body = new URLSearchParams({ ...client, ...fields });
    const answer = await fetch(`${provider.issuer}/token`, { method: 'POST', body });
    return { status: answer.status, ...((await answer.json()) as Tokens) };
  }

  async function tokens(url: URL) {
    const code = url.searchParams.get('code') ?? '';
    return token({ grant_type: 'authorization_code', code, redirect_uri: callback, code_verifier: verifier });
  }

  const api = (value: string) => fetch(provider.apiUrl, { headers: { authorization: `Bearer ${value}` } });

  it('signs in through its page and gives code, tokens and a verifiable ID token', async () => {
    const agent = new UserAgent();
    const page = await agent.navigate(authorizeUrl());
    expect(page.body).toContain('<title>Demo Identity</title>');
    const wrong = await agent.submitForm(page, { fields: { username: '<b>' } });
    expect([wrong.status, wrong.body.includes('<b>')]).toEqual([422, false]);
    const back = await untilCallback(
      agent,
      agent.submitForm(wrong, { fields: { username: 'alice' }, followRedirects: false }),
    );
    expect(Object.fromEntries(back.searchParams)).toMatchObject({ state: 'st', iss: provider.issuer });

    const issued = await tokens(back);
    expect(issued).toMatchObject({ status: 200, token_type: 'Bearer', refresh_token: expect.any(String) });
    const keys = createRemoteJWKSet(new URL(`${provider.issuer}/jwks`));
    const verified = await jwtVerify(issued.id_token ?? '', keys, { issuer: provider.issuer, audience: 'app' });
    expect(verified.payload).toMatchObject({ sub: 'alice-1', nonce: 'no' });
    const me = await fetch(`${provider.issuer}/me`, { headers: { authorization: `Bearer ${issued.access_token}` } });
    expect(await me.json()).toMatchObject({ sub: 'alice-1', name: 'Alice Ansel', email_verified: true });
    expect(provider.requestsTo('/token').at(-1)).toMatchObject({ status: 200, body: { code_verifier: verifier } });
  });

  it('serves its API to live tokens only, and counts the calls', async () => {
    const { access_token = '' } = await tokens(await signIn(new UserAgent()));
    const first = (await (await api(access_token)).json()) as { calls: number };
    expect(first).toEqual({ sub: 'alice-1', name: 'Alice Ansel', calls: expect.any(Number) });
    expect(await (await api(access_token)).json()).toMatchObject({ calls: first.calls + 1 });
    provider.revoke({ kinds: ['AccessToken'] });
    const refused = await api(access_token);
    expect([refused.status, refused.headers.get('www-authenticate')]).toEqual([401, 'Bearer error="invalid_token"']);
  });

  it('lets access tokens expire', async () => {
    provider.accessTokenTtl = 1;
    const { access_token = '', expires_in } = await tokens(await signIn(new UserAgent()));
    provider.accessTokenTtl = 3600;
    expect(expires_in).toBe(1);
    await new Promise((done) => setTimeout(done, 2100));
    expect((await api(access_token)).status).toBe(401);
  });

  it('rotates refresh tokens and punishes the reuse of one', async () => {
    const first = await tokens(await signIn(new UserAgent()));
    const refresh = (refresh_token = '') => token({ grant_type: 'refresh_token', refresh_token });
    const second = await refresh(first.refresh_token);
    expect(second).toMatchObject({
      status: 200,
      refresh_token: expect.not.stringContaining(first.refresh_token ?? ''),
    });
    expect(await refresh(first.refresh_token)).toMatchObject({ status: 400, error: 'invalid_grant' });
    expect(await refresh(second.refresh_token)).toMatchObject({ status: 400, error: 'invalid_grant' });
  });

  it('revokes', async () => {
    const { refresh_token = '', access_token = '' } = await tokens(await signIn(new UserAgent()));
    const body = new URLSearchParams({ ...client, token: refresh_token });
    expect((await fetch(`${provider.issuer}/token/revocation`, { method: 'POST', body })).status).toBe(200);
    expect(await token({ grant_type: 'refresh_token', refresh_token })).toMatchObject({ error: 'invalid_grant' });
    expect((await api(access_token)).status).toBe(401);
  });

  it('demands PKCE, and takes no for an answer', async () => {
    const agent = new UserAgent();
    const without = await untilCallback(agent, agent.navigate(authorizeUrl({}, false), { followRedirects: false }));
    expect(without.searchParams.get('error')).toBe('invalid_request');
    const page = await agent.navigate(authorizeUrl());
    const no = await untilCallback(agent, agent.submitForm(page, { form: 1, followRedirects: false }));
    expect(no.searchParams.get('error')).toBe('access_denied');
  });

  it('remembers the browser, signs in again when told, and obeys prompt, acr and consent', async () => {
    const agent = new UserAgent();
    const first = await tokens(await signIn(agent, { acr_values: 'urn:strong' }));
    expect(decodeJwt(first.id_token ?? '')).toMatchObject({ acr: 'urn:strong', amr: ['pwd'] });
    const again = await untilCallback(
      agent,
      agent.navigate(authorizeUrl({ prompt: 'none' }), { followRedirects: false }),
    );
    expect(again.searchParams.has('code')).toBe(true);
    expect((await agent.navigate(authorizeUrl({ prompt: 'login' }))).body).toContain('Sign in');
    const offline = { prompt: 'consent', scope: 'openid offline_access' };
    const consented = await untilCallback(agent, agent.navigate(authorizeUrl(offline), { followRedirects: false }));
    expect(await tokens(consented)).toMatchObject({
      scope: 'openid offline_access',
      refresh_token: expect.any(String),
    });
    provider.forgetSessions();
    const forgotten = await untilCallback(
      agent,
      agent.navigate(authorizeUrl({ prompt: 'none' }), { followRedirects: false }),
    );
    expect(forgotten.searchParams.get('error')).toBe('login_required');
    provider.autoSignIn = 'bob';
    const silent = await untilCallback(agent, agent.navigate(authorizeUrl(), { followRedirects: false }));
    expect(decodeJwt((await tokens(silent)).id_token ?? '').sub).toBe('bob-2');
  });

  it('signs out on request and goes back where it may', async () => {
    const agent = new UserAgent();
    const { id_token = '' } = await tokens(await signIn(agent));
    const query = new URLSearchParams({
      id_token_hint: id_token,
      post_logout_redirect_uri: 'http://localhost:1/bye',
      state: 'z',
    });
    const page = await agent.navigate(`${provider.issuer}/session/end?${query}`);
    const back = await untilCallback(agent, agent.submitForm(page, { button: 'Sign out', followRedirects: false }));
    expect(back.href).toBe('http://localhost:1/bye?state=z');
    const next = await untilCallback(
      agent,
      agent.navigate(authorizeUrl({ prompt: 'none' }), { followRedirects: false }),
    );
    expect(next.searchParams.get('error')).toBe('login_required');
  });

  it('changes its keys, and fails on demand', async () => {
    const jwks = async () => (await fetch(`${provider.issuer}/jwks`)).text();
    const before = await jwks();
    await provider.rotateKeys();
    expect(await jwks()).not.toBe(before);
    provider.intercept = (_request, response) => Boolean(response.writeHead(503).end());
    expect((await fetch(`${provider.issuer}/jwks`)).status).toBe(503);
    provider.intercept = undefined;
    const { id_token } = await tokens(await signIn(new UserAgent()));
    expect(decodeJwt(id_token ?? '').sub).toBe('alice-1');
  });

  it('says nothing on the console', () => {
    expect([...warnings.mock.calls, ...notices.mock.calls]).toEqual([]);
  });
});
