// Requests with TLS of their own: deadlines outlive the garbage collector.
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { ClientTls } from '../../../src/options/client-tls.js';
import { requestProvider, streamFromApi } from '../../../src/providers/http-door.js';
import { makeCertificate } from '../../../src/testing/index.js';

const authority = makeCertificate({ commonName: 'Test Authority', hosts: [], authority: true });
const host = makeCertificate({ issuer: authority });

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
  const server = createServer({ key: host.key, cert: host.cert }, handle);
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

  /** What becomes of a request that nobody answers, and whether it took about a second. */
  async function ending(asked: Promise<unknown>): Promise<[end: unknown, inTime: boolean]> {
    const began = performance.now();
    let patience: NodeJS.Timeout | undefined;
    const end = await Promise.race([
      asked.then(
        () => 'answered',
        (error: { code?: unknown; name: string }) => error.code ?? error.name,
      ),
      new Promise((resolve) => (patience = setTimeout(resolve, 8_000, 'still waiting'))),
    ]);
    clearTimeout(patience);
    const took = performance.now() - began;
    return [end, took > 900 && took < 3_000];
  }

  const request = { provider: 'corp', dispatcher: tls };

  it.each(['/headers', '/body'])('a stall before or within %s ends at the deadline', async (path) => {
    const asked = requestProvider({ ...request, url: url + path, timeout: 1_000 });
    expect(await ending(asked)).toEqual(['provider_unavailable', true]);
  });

  it.each(['/headers', '/body'])("a stall before or within %s ends at the caller's own deadline", async (path) => {
    const signal = AbortSignal.timeout(1_000);
    const asked = requestProvider({ ...request, url: url + path, timeout: 20_000, signal });
    expect(await ending(asked)).toEqual(['provider_unavailable', true]);
  });

  it.each(['/headers', '/body'])("a stall before or within %s of an API ends with the caller's abort", async (path) => {
    const caller = new AbortController();
    setTimeout(() => caller.abort(), 1_000);
    const asked = streamFromApi(new URL(path, url), { method: 'POST', body: '{}', signal: caller.signal }, request);
    // Of a body under way, Node 20's http says that it was cut off.
    const end = expect.stringMatching(path === '/body' ? /^(ABORT_ERR|ECONNRESET)$/ : /^ABORT_ERR$/);
    expect(await ending(asked.then((response) => response.text()))).toEqual([end, true]);
  });
});
