// Requests with TLS of their own: deadlines outlive the garbage collector, and our certificate stays with our token.
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { TLSSocket } from 'node:tls';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { gzipSync } from 'node:zlib';
import { ClientTls } from '../../../src/options/client-tls.js';
import { requestProvider, streamFromApi } from '../../../src/providers/http-door.js';
import { ProviderApi } from '../../../src/providers/provider-api.js';
import type { ProviderConnection } from '../../../src/providers/provider-connection.js';
import { makeCertificate } from '../../../src/testing/index.js';

const authority = makeCertificate({ commonName: 'Test Authority', hosts: [], authority: true });
const host = makeCertificate({ issuer: authority });
const mine = makeCertificate({ issuer: authority, commonName: 'our application', hosts: [] });

const servers: Server[] = [];
afterAll(() =>
  Promise.all(
    servers.map((server) => {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(resolve));
    }),
  ),
);

async function listen(handle: Parameters<typeof createServer>[1]): Promise<string> {
  const server = createServer(
    { key: host.key, cert: host.cert, ca: authority.cert, requestCert: true, rejectUnauthorized: false },
    handle,
  );
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `https://localhost:${(server.address() as AddressInfo).port}`;
}

describe('while garbage is collected', () => {
  const tls = new ClientTls({ ca: authority.cert });
  let url: string;
  let collecting: NodeJS.Timeout;
  beforeAll(async () => {
    url = await listen((request, response) => {
      if (request.url === '/body') response.writeHead(200, { 'content-type': 'application/json' }).write('{"a":');
    });
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    collecting = setInterval(collect, 100);
  });
  afterAll(() => clearInterval(collecting));

  /** What becomes of a request that nobody answers. What was forgotten by the collector ends later than this waits, or never. */
  async function ending(asked: Promise<unknown>): Promise<unknown> {
    let patience: NodeJS.Timeout | undefined;
    const end = await Promise.race([
      asked.then(
        () => 'answered',
        (error: { code?: unknown; name: string }) => error.code ?? error.name,
      ),
      new Promise((resolve) => (patience = setTimeout(resolve, 15_000, 'still waiting'))),
    ]);
    clearTimeout(patience);
    return end;
  }

  const request = { provider: 'corp', dispatcher: tls };

  it.each(['/headers', '/body'])('a stall before or within %s ends at the deadline', async (path) => {
    const asked = requestProvider({ ...request, url: url + path, timeout: 1_000 });
    expect(await ending(asked)).toBe('provider_unavailable');
  });

  it.each(['/headers', '/body'])("a stall before or within %s ends at the caller's own deadline", async (path) => {
    const signal = AbortSignal.timeout(1_000);
    const asked = requestProvider({ ...request, url: url + path, timeout: 40_000, signal });
    expect(await ending(asked)).toBe('provider_unavailable');
  });

  it.each(['/headers', '/body'])("a stall before or within %s of an API ends with the caller's abort", async (path) => {
    const caller = new AbortController();
    setTimeout(() => caller.abort(), 1_000);
    const asked = streamFromApi(new URL(path, url), { method: 'POST', body: '{}', signal: caller.signal }, request);
    // Of a body under way, Node 20's http says that it was cut off.
    const end = expect.stringMatching(path === '/body' ? /^(ABORT_ERR|ECONNRESET)$/ : /^ABORT_ERR$/);
    expect(await ending(asked.then((response) => response.text()))).toEqual(end);
  });
});

it.each([
  [204, 'GET'],
  [205, 'POST'],
  [304, 'GET'],
  [200, 'HEAD'],
] as const)('an answer %i of an API to %s that has no body may be called packed', async (status, method) => {
  const url = await listen((request, response) => {
    request.resume().on('end', () => response.writeHead(status, { 'content-encoding': 'gzip' }).end());
  });
  const dispatcher = new ClientTls({ ca: authority.cert });
  const answer = await streamFromApi(new URL(url), { method }, { provider: 'corp', dispatcher });
  expect([answer.status, await answer.text()]).toEqual([status, '']);
  // What nobody listens for would come now, and end the process.
  await sleep(50);
});

describe('an API that says nothing, asked without a signal', () => {
  const half = Buffer.alloc(2 ** 20, 'x');
  let url: string;
  beforeAll(async () => {
    url = await listen((request, response) => {
      if (request.url === '/headers') return;
      if (request.url === '/drip') return void setInterval(() => response.writeProcessing(), 50).unref();
      response.writeHead(200, request.url === '/packed' ? { 'content-encoding': 'gzip' } : {});
      response.write(request.url === '/packed' ? gzipSync(half).subarray(0, 500) : half);
      if (request.url === '/whole') setTimeout(() => response.end(half), 100);
    });
  });

  const ask = (path: string) =>
    streamFromApi(new URL(path, url), {}, { provider: 'corp', dispatcher: new ClientTls({ ca: authority.cert }) }, 300);

  it.each(['/headers', '/drip'])('E-015 ends in time before its head: %s', async (path) => {
    const patience = sleep(5_000, 'still waiting', { ref: false });
    await expect(Promise.race([ask(path), patience])).rejects.toMatchObject({
      code: 'provider_unavailable',
      ambiguous: true,
    });
  });

  it.each(['/body', '/packed'])('E-015 ends in time within its body: %s', async (path) => {
    const patience = sleep(5_000, 'still waiting', { ref: false });
    const asked = ask(path).then((response) => response.arrayBuffer());
    await expect(Promise.race([asked, patience])).rejects.toThrow('has said nothing for too long');
  });

  it('waits for a caller who reads slowly, and no longer for the server after that', async () => {
    const [whole, broken] = await Promise.all([ask('/whole'), ask('/body')]);
    await sleep(1_000);
    expect((await whole.arrayBuffer()).byteLength).toBe(2 * half.length);
    const patience = sleep(5_000, 'still waiting', { ref: false });
    await expect(Promise.race([broken.arrayBuffer(), patience])).rejects.toThrow('has said nothing for too long');
  });
});

describe('a client certificate', () => {
  type Seen = [at: string, authorization: string | undefined, certificate: string | null];

  it('goes to the declared origin alone, as the token does, whatever redirects say', async () => {
    const dispatcher = new ClientTls({ cert: mine.cert, key: mine.key, ca: authority.cert });
    const seen: Seen[] = [];
    const note = (at: string, request: Parameters<Parameters<typeof createServer>[1] & object>[0]): void => {
      const { socket } = request;
      const name = socket instanceof TLSSocket ? socket.getPeerCertificate().subject?.CN : undefined;
      seen.push([at, request.headers.authorization, name === undefined ? null : String(name)]);
    };
    let foreign = '';
    const home = await listen((request, response) => {
      note(`home ${request.url}`, request);
      const location = { '/start': '/next', '/next': `${foreign}/x` }[request.url ?? ''];
      if (location === undefined) response.end('back');
      else response.writeHead(307, { location }).end();
    });
    foreign = await listen((request, response) => {
      note(`foreign ${request.url}`, request);
      response.writeHead(307, { location: `${home}/back` }).end();
    });
    const connection = { definition: { name: 'corp', apiOrigins: [home], dispatcher } };
    const api = new ProviderApi(connection as unknown as ProviderConnection);
    const answer = await api.fetch({ value: 'token', type: 'Bearer' }, `${home}/start`);
    expect(await answer.text()).toBe('back');
    expect(seen).toEqual([
      ['home /start', 'Bearer token', 'our application'],
      ['home /next', 'Bearer token', 'our application'],
      ['foreign /x', undefined, null],
      ['home /back', undefined, null],
    ]);
  });

  it('leaves nothing of itself where it is taken off, and the same connections each time', () => {
    const tls = new ClientTls({ cert: mine.cert, key: mine.key, passphrase: 'canary' });
    expect({ ...tls.withoutCertificate }).toEqual({});
    expect(tls.withoutCertificate).toBe(tls.withoutCertificate);
    expect({ ...new ClientTls({ cert: mine.cert, key: mine.key, ca: authority.cert }).withoutCertificate }).toEqual({
      ca: [authority.cert],
    });
  });
});

describe('headers that an application passes on', () => {
  const tls = new ClientTls({ ca: authority.cert });

  it('do not say whose certificate is right, nor whom an API is asked for', async () => {
    const hosts: unknown[] = [];
    const url = await listen((request, response) => {
      hosts.push(request.headers.host, request.socket instanceof TLSSocket && request.socket.servername);
      response.end('ok');
    });
    const connection = (dispatcher?: object) =>
      ({ definition: { name: 'corp', apiOrigins: [url], dispatcher } }) as unknown as ProviderConnection;
    const api = new ProviderApi(connection(tls));
    const answer = await api.fetch({ value: 'token', type: 'Bearer' }, url, { headers: { host: 'evil.example' } });
    expect([await answer.text(), hosts]).toEqual(['ok', [new URL(url).host, 'localhost']]);
  });

  it.each([
    ['shorter', '2'],
    ['longer', '200'],
  ])('cannot make the body %s than it is, and the rest a request of its own', async (_name, length) => {
    const asked: string[] = [];
    const url = await listen((request, response) => {
      asked.push(`${request.method} ${request.url}`);
      request.resume().on('end', () => response.end('ok'));
    });
    const body = 'xxGET /admin HTTP/1.1\r\nhost: localhost\r\n\r\n';
    const signal = AbortSignal.timeout(2_000);
    const sent = (given: RequestInit['body']) =>
      streamFromApi(
        new URL('/', url),
        { method: 'POST', body: given ?? null, headers: { 'content-length': length }, signal },
        { provider: 'corp', dispatcher: tls },
      ).then(
        (response) => response.text(),
        (error: { code?: string }) => String(error.code),
      );
    const stream = new ReadableStream({
      start(controller) {
        controller.enqueue(new TextEncoder().encode(body));
        controller.close();
      },
    });
    const ends = [await sent(body), await sent(stream)];
    // Whatever was left over has been read as a request by then.
    expect(await sent('last')).toBe('ok');
    expect(asked.filter((line) => line.includes('admin'))).toEqual([]);
    expect(ends).toEqual(['ok', 'ok']);
  });
});
