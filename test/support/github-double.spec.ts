import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { createHash } from 'node:crypto';
import { startGithubDouble, type GithubDouble } from './github-double.js';

const redirectUri = 'https://app.example/auth/github/callback';
const client = { client_id: 'id', client_secret: 'secret' };
const verifier = 'v'.repeat(43);
const code_challenge = createHash('sha256').update(verifier).digest('base64url');

describe('startGithubDouble', () => {
  let github: GithubDouble;
  beforeAll(async () => {
    github = await startGithubDouble({ clientId: client.client_id, clientSecret: client.client_secret, redirectUri });
  });
  afterAll(() => github.close());
  beforeEach(() => {
    github.signedInAs = github.users[0];
  });

  async function authorize(more: Record<string, string> = {}): Promise<URLSearchParams> {
    const query = new URLSearchParams({
      client_id: 'id',
      redirect_uri: redirectUri,
      state: 's',
      code_challenge,
      code_challenge_method: 'S256',
      ...more,
    });
    const answer = await fetch(`${github.url}/login/oauth/authorize?${query}`, { redirect: 'manual' });
    return new URL(answer.headers.get('location') ?? 'about:blank').searchParams;
  }

  function exchange(fields: Record<string, string>, headers: Record<string, string> = { accept: 'application/json' }) {
    const body = new URLSearchParams({ ...client, code_verifier: verifier, ...fields });
    return fetch(`${github.url}/login/oauth/access_token`, { method: 'POST', body, headers });
  }

  async function token(scope = 'read:user user:email'): Promise<string> {
    const answer = await exchange({ code: (await authorize({ scope })).get('code') ?? '' });
    return ((await answer.json()) as { access_token: string }).access_token;
  }

  const api = (path: string, value: string) =>
    fetch(github.apiUrl + path, { headers: { authorization: `Bearer ${value}` } });
  const basic = { authorization: `Basic ${btoa('id:secret')}`, 'content-type': 'application/json' };

  it('gives a token as a form, or as JSON when asked, with commas in the scope and no expiry', async () => {
    const code = (await authorize({ scope: 'user:email read:user' })).get('code') ?? '';
    const form = await exchange({ code }, { accept: '*/*' });
    expect(form.headers.get('content-type')).toContain('x-www-form-urlencoded');
    expect(Object.fromEntries(new URLSearchParams(await form.text()))).toEqual({
      ...{ access_token: expect.stringMatching(/^gho_/), scope: 'read:user,user:email', token_type: 'bearer' },
    });
    const json = await exchange({ code: (await authorize()).get('code') ?? '' });
    expect(await json.json()).toMatchObject({ scope: '', token_type: 'bearer' });
  });

  it.each([
    ['a used or unknown code', { code: 'x' }, 'bad_verification_code'],
    ['a wrong secret', { client_secret: 'x' }, 'incorrect_client_credentials'],
    ['a wrong verifier', { code_verifier: 'x' }, 'bad_verification_code'],
    ['a foreign redirect URI', { redirect_uri: 'https://evil.example' }, 'redirect_uri_mismatch'],
  ])('says 200 and an error to %s', async (_what, fields: Record<string, string>, error) => {
    const answer = await exchange({ code: (await authorize()).get('code') ?? '', ...fields });
    expect([answer.status, await answer.json()]).toMatchObject([200, { error, error_description: expect.any(String) }]);
  });

  it('redirects with an error when the person says no', async () => {
    github.signedInAs = undefined;
    expect(Object.fromEntries(await authorize())).toMatchObject({ error: 'access_denied', state: 's' });
  });

  it('serves profile and addresses to who has a token, the scope and a name', async () => {
    const value = await token();
    expect(await (await api('/user', value)).json()).toMatchObject({ id: 583231, login: 'octocat', email: null });
    const emails = (await (await api('/user/emails', value)).json()) as { primary: boolean }[];
    expect(emails.filter(({ primary }) => primary)).toHaveLength(1);
    expect((await api('/user/emails', await token('read:user'))).status).toBe(404);
    expect((await api('/user', 'gho_x')).status).toBe(401);
    const nameless = await fetch(`${github.apiUrl}/user`, {
      headers: { authorization: `Bearer ${value}`, 'user-agent': '' },
    });
    expect(nameless.status).toBe(403);
  });

  it('revokes one token, or all by the grant', async () => {
    const [one, two] = [await token(), await token()];
    const end = (what: string, access_token: string, headers = basic) =>
      fetch(`${github.apiUrl}/applications/id/${what}`, {
        method: 'DELETE',
        headers,
        body: JSON.stringify({ access_token }),
      });
    expect((await end('token', one, { ...basic, authorization: 'Basic eDp5' })).status).toBe(401);
    expect((await end('token', one)).status).toBe(204);
    expect([(await api('/user', one)).status, (await api('/user', two)).status]).toEqual([401, 200]);
    const three = await token();
    expect((await end('grant', three)).status).toBe(204);
    expect([(await api('/user', two)).status, (await end('token', three)).status]).toEqual([401, 422]);
  });
});
