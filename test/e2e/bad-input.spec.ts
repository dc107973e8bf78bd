// Hostile input on every route: a 4xx with a stable code, nothing left behind, and the process alive.
import { ExpressAdapter } from '@nestjs/platform-express';
import { type Platform } from '../support/app.js';
import { captureOutput, type CapturedOutput } from '../support/captured-output.js';
import { codeOf, type LoginFixture, startLogin } from '../support/login-fixture.js';

/** Everything that the routes of a login could write. */
const TABLES = ['oauth_states', 'oauth_accounts', 'oauth_grants', 'oauth_access_tokens', 'oauth_sessions'];

const platforms: [name: string, platform: Platform, parser: string][] = [
  ['express with the simple query parser', 'express', 'simple'],
  ['express with the extended query parser', 'express', 'extended'],
  ['fastify', 'fastify', ''],
];

describe.each(platforms)('hostile input on %s', (_, platform, parser) => {
  let at: LoginFixture;
  let output: CapturedOutput;

  beforeAll(async () => {
    output = captureOutput();
    const adapter = new ExpressAdapter();
    if (parser) adapter.getInstance<{ set(name: string, value: string): void }>().set('query parser', parser);
    at = await startLogin({
      platform,
      logger: output.logger,
      oauth: { cleanup: false },
      ...(platform === 'express' ? { adapter } : {}),
    });
  });
  afterAll(async () => {
    await at?.close();
    output?.restore();
  });

  const rows = async (): Promise<number[]> => Promise.all(TABLES.map((table) => at.count(table)));

  /** The request is refused, asks no provider, writes nothing, and says at most one bounded line. */
  async function refused(
    path: string,
    options: { method?: string; body?: string; headers?: Record<string, string>; statuses?: number[] } = {},
  ) {
    const { statuses = [400], ...request } = options;
    const agent = at.agent();
    const pending = await at.untilCallback(agent);
    at.provider.clearRequests();
    const before = await rows();
    output.clear();
    const answer = await agent.request({
      url: `${at.app.url}/`,
      path: path.replaceAll('{state}', pending.searchParams.get('state')!),
      ...request,
    });
    expect([path, statuses.includes(answer.status), answer.status]).toEqual([path, true, answer.status]);
    expect(at.provider.requests).toHaveLength(0);
    expect(await rows()).toEqual(before);
    const said = output.lines.filter(({ from }) => from.startsWith('logger.'));
    expect(said.length).toBeLessThanOrEqual(1);
    for (const { text } of said) {
      expect(text.length).toBeLessThan(700);
      expect(text).not.toMatch(/[\u0000-\u0008\u000a-\u001f\u007f-\u009f]/);
    }
    return answer;
  }

  const callback = '/auth/fake/callback?';
  it.each([
    'state[]=a',
    'state[a]=1',
    'state={state}&code[]=x',
    'state={state}&code[a]=x',
    'state={state}&code=x&iss[]=x',
    'state={state}&error[toString]=1',
    'state={state}&error[]=access_denied',
    'state.a=1',
    'state=&state={state}&code=x',
    'state={state}&state={state}&code=x',
    '__proto__[x]=1',
    'constructor[prototype][x]=1',
    'state={state}&code=x&__proto__[x]=1',
    'state={state}&code=x&constructor[prototype][x]=1',
    'state=%00',
    'state=%27%20or%201=1--&code=x',
    'state={"a":1}&code=x',
    'state=%E2%80%8B&code=x',
    'state=%E2%80%AE{state}&code=x',
    'state=١٢٣&code=x'.replace('١٢٣', encodeURIComponent('١'.repeat(43))),
    'state=%FF%FE&code=x',
    'state=%&code=x',
    'state=%E0%A4%A&code=x',
    'state=%ED%A0%80&code=x',
    'state={state}%0d%0aSet-Cookie:a=b&code=x',
    'state=%1b[31m&code=x',
    'state={state}&access_token=x',
    'state={state}&code=x&id_token=y',
  ])('E-061 E-062 E-066 C-005 refuses the callback ?%s', async (query) => {
    const answer = await refused(callback + query);
    expect(codeOf(answer)).toMatch(/^invalid_(request|state)$/);
    expect(({} as Record<string, unknown>).x).toBeUndefined();
    expect(Object.keys(Object.prototype)).toEqual([]);
  });

  it.each([
    '__proto__',
    'constructor',
    'toString',
    'hasOwnProperty',
    '..%2fx',
    '%2e%2e',
    'unknown',
    'FAKE',
    'fake%00',
    'fake%20',
    '%ff',
    '%',
    '%E0%A4%A',
    'login',
    'a'.repeat(3000),
  ])('E-067 C-005 there is no provider %j', async (name) => {
    for (const route of ['login', 'callback?state={state}&code=x'])
      await refused(`/auth/${name}/${route}`, {
        statuses: name.includes('%') || name.length > 999 ? [400, 404, 414] : [404],
      });
  });

  it.each([
    'not-a-uuid',
    '00000000-0000-0000-0000-000000000000',
    '%00',
    "' or 1=1",
    '__proto__',
    '..%2f..',
    'A'.repeat(1000),
  ])('E-068 there is no session or account %j', async (id) => {
    const agent = at.agent();
    await at.login(agent);
    for (const kind of ['sessions', 'accounts']) {
      const answer = await agent.request({
        url: `${at.app.url}/`,
        path: `/auth/${kind}/${encodeURI(id)}`,
        method: 'DELETE',
      });
      expect([400, 404, 414]).toContain(answer.status);
    }
    expect(await at.status(agent)).toBe(200);
  });

  it("E-068 nobody ends another user's session", async () => {
    const [agent, other] = [at.agent(), at.agent()];
    at.provider.user({ sub: 'owner' });
    await at.login(other);
    const id = (await other.fetch(`${at.app.url}/me`)).json<{ session: { id: string } }>().session.id;
    at.provider.user({ sub: 'intruder' });
    await at.login(agent);
    const answer = await agent.fetch(`${at.app.url}/auth/sessions/${id}`, { method: 'DELETE' });
    expect([answer.status, codeOf(answer)]).toEqual([404, 'not_found']);
    expect(await at.status(other)).toBe(200);
    at.provider.reset();
  });

  it.each(['PUT', 'PATCH', 'DELETE', 'TRACE', 'LOCK'])('E-069 %s has no effect on any route', async (method) => {
    for (const path of [
      '/auth/fake/login',
      '/auth/fake/callback?state={state}&code=x',
      '/auth/session',
      '/auth/logout',
      '/auth/login',
    ])
      await refused(path, { method, statuses: [400, 404, 405, 501] });
  });

  it('E-069 method overrides have no effect', async () => {
    const agent = at.agent();
    await at.login(agent);
    for (const name of ['x-http-method-override', 'x-method-override', 'x-http-method']) {
      const answer = await agent.fetch(`${at.app.url}/auth/logout?_method=POST`, { headers: { [name]: 'POST' } });
      expect(answer.status).toBe(405);
    }
    expect(await at.status(agent)).toBe(200);
  });

  it('E-070 a POST to the callback of a provider without form_post is 405, and the state stays usable', async () => {
    const agent = at.agent();
    const url = await at.untilCallback(agent);
    const form = Object.fromEntries(url.searchParams);
    const answer = await agent.navigate(`${at.app.url}/auth/fake/callback`, {
      form,
      from: at.provider.url,
      followRedirects: false,
    });
    expect([answer.status, codeOf(answer)]).toEqual([405, 'method_not_allowed']);
    const both = await agent.request({
      url: url.href,
      method: 'POST',
      body: url.search.slice(1),
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
    });
    expect(both.status).toBe(405);
    expect((await at.callback(agent, url)).status).toBe(303);
  });

  it.each(['state', 'code', 'error', 'iss', 'returnTo', 'foo', 'provider'])(
    'E-064 no header comes out of %s',
    async (name) => {
      const value = '%0d%0aSet-Cookie:%20evil=1%0d%0a%0d%0a<script>';
      for (const path of [
        `/auth/fake/callback?state={state}&code=x&${name}=${value}`,
        `/auth/fake/login?${name}=${value}`,
        `/auth/login?${name}=${value}`,
        `/me?${name}=${value}`,
      ]) {
        const agent = at.agent();
        const pending = await at.untilCallback(agent);
        at.provider.fault('code', { kind: 'oauthError', error: 'invalid_grant', times: 1 });
        const answer = await agent.request({
          url: `${at.app.url}/`,
          path: path.replace('{state}', pending.searchParams.get('state')!),
          headers: { accept: 'text/html' },
        });
        expect(answer.setCookies.join()).not.toContain('evil');
        expect([...answer.headers.keys()]).not.toContain('evil');
        expect(answer.body).not.toContain('<script>');
        expect(answer.status).toBeLessThan(500);
        at.provider.reset();
      }
    },
  );

  it.each([
    ['a query of 1 MB', `/auth/fake/callback?state=${'a'.repeat(1_000_000)}`, {}],
    ['10,000 parameters', `/auth/fake/callback?${'a=1&'.repeat(10_000)}state=x`, {}],
    ['a header of 64 KB', '/auth/fake/callback?state=x&code=y', { 'x-long': 'a'.repeat(65_536) }],
    ['cookies of 64 KB', '/me', { cookie: `oauth_session=${'a'.repeat(65_536)}` }],
    ['a query just over the bound', `/auth/fake/callback?state=x&code=${'a'.repeat(8_200)}`, {}],
  ])('E-065 C-027 answers %s with a 4xx, quickly', async (_, path, headers) => {
    const began = performance.now();
    const status = await at
      .agent()
      .request({ url: `${at.app.url}/`, path, headers })
      .then(
        (answer) => answer.status,
        // Node's parser refuses a head beyond 16 KB with 431 and closes: the reset may overtake its answer.
        (error: NodeJS.ErrnoException) => error.code,
      );
    const beyondParser = path.length + JSON.stringify(headers).length > 16_384;
    expect([400, 401, 414, 431, ...(beyondParser ? ['ECONNRESET', 'EPIPE'] : [])]).toContain(status);
    expect(performance.now() - began).toBeLessThan(2_000);
    expect((await at.agent().fetch(`${at.app.url}/me/public`)).status).toBe(200);
  });

  it('C-027 three hundred cookies cost nothing', async () => {
    const agent = at.agent();
    await at.login(agent);
    const crowd = Array.from({ length: 300 }, (_, index) => `c${index}=${'x'.repeat(30)}`).join('; ');
    const answer = await agent.request({
      url: `${at.app.url}/me`,
      headers: { cookie: `${crowd}; oauth_session=${agent.cookie('oauth_session')}` },
    });
    expect(answer.status).toBe(200);
    const quoted = Array.from({ length: 2_000 }, () => 'oauth_session="').join(';');
    expect([401, 431]).toContain(
      (await agent.request({ url: `${at.app.url}/me`, headers: { cookie: quoted }, keepCookies: false })).status,
    );
  });

  it.each(['%', '%E0%A4%A', '%FF%FE', '%00', '\u00ff\u00fe', '=', ';;;', ',', '"', '\\'])(
    'C-005 the cookie and headers %j kill nobody',
    async (text) => {
      const headers = {
        cookie: `oauth_session=${text}; ${text}; oauth_browser=${text}`,
        'user-agent': text,
        referer: text,
        origin: text,
        'sec-fetch-site': text,
        accept: text,
      };
      for (const path of ['/me', '/auth/session', '/auth/fake/login', '/auth/fake/callback?state=x&code=y']) {
        const answer = await at.agent().request({
          url: `${at.app.url}/`,
          path,
          headers: path.startsWith('/auth/fake/login') ? { ...headers, cookie: '' } : headers,
        });
        expect(answer.status).toBeLessThan(500);
      }
    },
  );

  it.each([
    '//auth/fake/login',
    '/AUTH/fake/login',
    '/auth/fake/login/',
    '/auth/./fake/login',
    '/auth/fake/login;x',
    '/auth//fake/login',
    '/auth/fake;x/login',
    '/auth/x/../fake/login',
    '/auth/fake/LOGIN',
    '/%61uth/fake/login',
  ])('C-010 the variant %s is treated the same or not found', async (path) => {
    const headers = { 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document' };
    const answer = await at.agent().request({ url: `${at.app.url}/`, path, headers });
    expect([302, 400, 404]).toContain(answer.status);
    if (answer.status === 302) expect(new URL(answer.headers.get('location')!).origin).toBe(at.provider.url);
    // What is refused in one spelling is refused in all.
    const image = await at.agent().request({
      url: `${at.app.url}/`,
      path,
      headers: { ...headers, 'sec-fetch-mode': 'no-cors', 'sec-fetch-dest': 'image' },
    });
    expect([400, 403, 404]).toContain(image.status);
  });

  it.each([
    '//me',
    '/ME',
    '/me/',
    '/./me',
    '/me;x',
    '/me?x=/me/public',
    '/me#/public',
    '/me%23/public',
    '/me?/me/public',
    '/me/x/../',
    '/%6de',
    '/me/../me',
    '/me%2f',
  ])('C-010 C-019 the guarded path variant %s stays closed', async (path) => {
    const answer = await at.agent().request({ url: `${at.app.url}/`, path });
    expect([400, 401, 404]).toContain(answer.status);
  });

  it('E-071 JSON and multipart on the callback are refused', async () => {
    for (const type of ['application/json', 'multipart/form-data; boundary=x', 'text/plain', 'application/xml']) {
      const answer = await at.agent().request({
        url: `${at.app.url}/auth/fake/callback`,
        method: 'POST',
        headers: { 'content-type': type },
        body: '{"state":"x","code":"y"}',
      });
      expect(answer.status).toBeGreaterThanOrEqual(400);
      expect(answer.status).toBeLessThan(500);
    }
  });

  it('A-015 authorize parameters come from the configuration alone', async () => {
    const clean = await at.begin(at.agent());
    const normal = (url: URL) =>
      [...url.searchParams].filter(([name]) => !['state', 'nonce', 'code_challenge'].includes(name));
    for (const query of [
      '?returnTo=%2Fx%26prompt%3Dnone%26scope%3Dadmin',
      '?scope=admin&redirect_uri=https://evil.com&client_id=x&response_mode=fragment&claims=%7B%7D&prompt=none&max_age=0&login_hint=x&state=fixed&nonce=fixed&code_challenge=x&code_challenge_method=plain&response_type=token&resource=x&acr_values=x&request=x&request_uri=x&ui_locales=x',
      '?returnTo=/x%23&scope=admin',
      '?scope[]=admin&__proto__[scope]=admin',
    ]) {
      const url = await at.begin(at.agent(), query);
      expect(normal(url)).toEqual(normal(clean));
      expect(url.searchParams.get('state')).not.toBe('fixed');
      expect(url.searchParams.get('nonce')).not.toBe('fixed');
    }
  });

  it('C-013 what a provider says is inert in page, header and log', async () => {
    const nasty = '"><img src=x onerror=alert(1)>\r\nX-Evil: 1\u001b[31m\u009b\u202eevil';
    const agent = at.agent();
    for (const members of [
      { error: nasty, error_description: nasty, error_uri: `javascript:${nasty}` },
      { error: 'access_denied', error_description: nasty, error_uri: nasty },
    ]) {
      const url = await at.untilCallback(agent);
      url.searchParams.delete('code');
      for (const [name, value] of Object.entries(members)) url.searchParams.set(name, value);
      output.clear();
      const answer = await at.callback(agent, url);
      expect(answer.status).toBe(403);
      expect(answer.body).not.toMatch(/onerror|evil/i);
      expect(output.text).not.toMatch(/onerror|\u001b|\u009b|\u202e/);
    }
    at.provider.tamper('idToken', (claims) => ({ ...claims, sub: 'a\u009b31m\u202eevil', name: nasty }));
    at.provider.clearTampering('userinfo');
    at.provider.tamper('userinfo', (claims) => ({ ...claims, sub: 'a\u009b31m\u202eevil', name: nasty }));
    output.clear();
    expect((await at.login(agent)).status).toBe(303);
    expect(output.text).not.toMatch(/[\u001b\u009b\u202e]/);
    at.provider.reset();
  });
});
