// Where tokens.fetch() sends an access token, and where it does not.
import { createServer, type IncomingMessage, type Server } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { type Grants, startGrants } from '../../support/grants.js';

/** A server that nobody declared; it remembers who came, and answers as it is told. */
class Elsewhere {
  readonly requests: IncomingMessage[] = [];
  redirect: string | undefined;
  #server!: Server;

  async start(): Promise<this> {
    this.#server = createServer((request, response) => {
      this.requests.push(request);
      request.resume();
      response.writeHead(this.redirect ? 302 : 200, this.redirect ? { location: this.redirect } : {}).end('elsewhere');
    }).listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    return this;
  }

  get host(): string {
    return `localhost:${(this.#server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((done) => this.#server.close(done));
  }
}

describe('tokens.fetch', () => {
  let grants: Grants;
  let elsewhere: Elsewhere;
  let grantId: string;

  beforeEach(async () => {
    grants = await startGrants();
    elsewhere = await new Elsewhere().start();
    ({ grantId } = await grants.logIn());
  });
  afterEach(async () => {
    await elsewhere.stop();
    await grants[Symbol.asyncDispose]();
  });

  /** Everything that could be a secret of this user. */
  function secrets(): string[] {
    return grants.provider.issued.map(({ value }) => value);
  }

  it('A-119 asks nobody but the declared origins, however another address is spelled', async () => {
    const { host } = elsewhere;
    const api = new URL(grants.provider.apiUrl);
    const spellings: (string | URL)[] = [
      ...[`http://${host}/`, `HTTP://${host}/`, `https://${api.host}/`, `//${host}/`, `///${host}/`, `/\\${host}/`],
      ...[`\\\\${host}/`, `@${host}/`, `/me`, `me`, '', `?x`, `http:${host}/`, `http:/${host}/`, `http:\\\\${host}/`],
      ...[`http://${api.host}@${host}/`, `http://${api.host}\\@${host}/`, `http://${host}#@${api.host}/`],
      ...[`http://${host}?@${api.host}/`, `http://user@${api.host}/`, `http://user:secret@${api.host}/`],
      ...[
        `http://${api.hostname}.evil.example:${api.port}/`,
        `http://${api.hostname}./`,
        `http://127.0.0.1:${api.port}/`,
      ],
      ...[
        ` http://${host}/`,
        `\thttp://${host}/`,
        `ht\ntp://${host}/`,
        `http://\n${host}/`,
        `http://${api.host}\n.evil/`,
      ],
      ...[
        'javascript:alert(1)',
        'data:text/plain,x',
        'file:///etc/passwd',
        `ftp://${api.host}/`,
        `blob:http://${host}/x`,
      ],
      ...[new URL(`http://${host}/`), new URL(`http://user@${api.host}/`)],
    ];
    await grants.expire();
    grants.provider.clearRequests();
    for (const url of spellings)
      await expect(grants.tokens.fetch(grantId, url, { headers: { cookie: 'a=b' } })).rejects.toMatchObject({
        code: 'origin_not_allowed',
      });
    expect(elsewhere.requests).toEqual([]);
    // Nobody at all was asked, and no refresh token was spent on it.
    expect(grants.provider.requests).toEqual([]);
    expect((await grants.tokens.fetch(grantId, `${api.href}/me`)).status).toBe(200);
    expect((await grants.tokens.fetch(grantId, new URL(`${api.href}/me`))).status).toBe(200);
  });

  it.each([301, 302, 303, 307, 308] as const)(
    'A-119 follows a redirect elsewhere (%s) without token and cookie, and brings the token back to nobody’s order',
    async (status) => {
      const location = `http://${elsewhere.host}/landing`;
      grants.provider.fault('api', { kind: 'redirect', status, location, times: 1 });
      const headers = { cookie: 'session=of-the-application', authorization: 'Basic abc', dpop: 'x' };
      const answer = await grants.tokens.fetch(grantId, `${grants.provider.apiUrl}/me`, { headers });
      expect(await answer.text()).toBe('elsewhere');
      expect(elsewhere.requests).toHaveLength(1);
      const [first] = grants.provider.requestsTo('api');
      expect(first!.headers.authorization).toMatch(/^Bearer at_/);
      expect([first!.headers.cookie, first!.headers.dpop]).toEqual([undefined, undefined]);

      elsewhere.redirect = `${grants.provider.apiUrl}/of-their-choice`;
      grants.provider.fault('api', { kind: 'redirect', status, location, when: ({ path }) => path.endsWith('/me') });
      expect((await grants.tokens.fetch(grantId, `${grants.provider.apiUrl}/me`, { headers })).status).toBe(401);
      const back = grants.provider.requestsTo('api').filter(({ path }) => path.endsWith('/of-their-choice'));
      expect(back.length).toBeGreaterThan(0);
      for (const request of [...elsewhere.requests, ...back]) {
        expect(request.headers).not.toHaveProperty('authorization');
        expect(request.headers).not.toHaveProperty('cookie');
        expect(request.headers).not.toHaveProperty('dpop');
        for (const secret of secrets())
          expect(JSON.stringify([request.headers, request.rawHeaders])).not.toContain(secret);
      }
    },
  );

  it('A-119 sends nothing elsewhere where the caller handles redirects', async () => {
    const location = `http://${elsewhere.host}/`;
    grants.provider.fault('api', { kind: 'redirect', status: 302, location });
    for (const redirect of ['manual', 'error'] as const)
      expect((await grants.tokens.fetch(grantId, `${grants.provider.apiUrl}/me`, { redirect })).status).toBe(302);
    expect(elsewhere.requests).toEqual([]);
  });
});
