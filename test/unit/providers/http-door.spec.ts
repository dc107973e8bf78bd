// What goes through the door, seen from the other side: what servers insist on, and what odd ones do.
import { createServer as createRawServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { createServer } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { MAX_BODY_BYTES } from '../../../src/providers/bounded-body.js';
import { requestProvider } from '../../../src/providers/http-door.js';

const servers: Server[] = [];
const sockets = new Set<Socket>();
afterAll(() =>
  Promise.all(
    servers.map((server) => {
      for (const socket of sockets) socket.destroy();
      return new Promise((resolve) => server.close(resolve));
    }),
  ),
);

async function listen(server: Server): Promise<string> {
  servers.push(server);
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket)).on('error', () => undefined);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** A server that writes these bytes to whoever asks for something. */
const saying = (bytes: string) => listen(createRawServer((socket) => socket.once('data', () => socket.write(bytes))));

const request = { provider: 'corp', timeout: 5_000 };

it('gives the length of every body, of DELETE as well', async () => {
  const url = await listen(
    createServer((asked, response) => {
      asked.resume().on('end', () => response.end(JSON.stringify([asked.method, asked.headers['content-length']])));
    }),
  );
  const lengths: unknown[] = [];
  for (const [method, body] of [
    ['DELETE', '{}'],
    ['POST', new URLSearchParams({ name: 'ü' })],
    ['GET', null],
  ] as const)
    lengths.push(JSON.parse((await requestProvider({ ...request, url, method, body })).body.toString()));
  expect(lengths).toEqual([['DELETE', '2'], ['POST', '11'], ['GET', undefined].map((item) => item ?? null)]);
});

it('uses a connection again, and leaves it before a server would after five seconds', async () => {
  const seen: (number | undefined)[] = [];
  const server = createServer((asked, response) => {
    seen.push(asked.socket.remotePort);
    response.end('{}');
  });
  // Says nothing of it, as many do.
  server.keepAliveTimeout = 0;
  const url = await listen(server);
  const left = new Promise((resolve) => server.on('connection', (socket) => socket.on('close', resolve)));
  await requestProvider({ ...request, url });
  await requestProvider({ ...request, url });
  expect(seen[1]).toBe(seen[0]);
  const idle = performance.now();
  await left;
  expect(performance.now() - idle).toBeLessThan(5_000);
});

it('takes a change of protocol, which it never asked for, as no answer', async () => {
  const url = await saying('HTTP/1.1 101 Switching Protocols\r\nUpgrade: other\r\nConnection: Upgrade\r\n\r\n');
  await expect(requestProvider({ ...request, url })).rejects.toMatchObject({
    code: 'provider_unavailable',
    ambiguous: true,
    cause: { message: expect.stringContaining('closed without an answer') as string },
  });
});

it('reads on when a body comes packed though nobody asked for that, and no further than the bound', async () => {
  const url = await listen(
    createServer((asked, response) => {
      response.setHeader('content-encoding', 'gzip');
      response.end(gzipSync(asked.url === '/bomb' ? Buffer.alloc(MAX_BODY_BYTES + 1) : '{"packed":true}'));
    }),
  );
  expect((await requestProvider({ ...request, url })).body.toString()).toBe('{"packed":true}');
  await expect(requestProvider({ ...request, url: `${url}/bomb` })).rejects.toMatchObject({ code: 'provider_error' });
});

it.each(
  [
    [204, 'POST'],
    [205, 'POST'],
    [304, 'GET'],
    [200, 'HEAD'],
  ].flatMap((answer) => ['gzip', 'x-gzip', 'deflate', 'br'].map((coding) => [...answer, coding])) as [
    number,
    string,
    string,
  ][],
)('outlives an answer %i to %s that has no body, and calls it %s', async (status, method, coding) => {
  const url = await listen(
    createServer((asked, response) => {
      asked.resume().on('end', () => response.writeHead(status, { 'content-encoding': coding }).end());
    }),
  );
  expect(await requestProvider({ ...request, url, method })).toMatchObject({ status, body: Buffer.alloc(0) });
  // What nobody listens for would come now, and end the process.
  await sleep(50);
});

it.each([
  ['within a sized body', 'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"a":1}'],
  ['within a chunked body', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n20\r\n{"a":1}'],
  ['within the head', 'HTTP/1.1 200 OK\r\nContent-'],
])('takes an answer that breaks off %s as lost, the request perhaps processed', async (_where, bytes) => {
  const server = createRawServer((socket) => socket.once('data', () => socket.end(bytes)));
  await expect(requestProvider({ ...request, url: await listen(server) })).rejects.toMatchObject({
    code: 'provider_unavailable',
    ambiguous: true,
  });
});

it.each([
  ['nothing', ''],
  ['half a head', 'HTTP/1.1 200 OK\r\nContent-'],
  ['half a body', 'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"a":1}'],
  ['half a packed body', `HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 900\r\n\r\n`],
])('waits no longer than its deadline for a server that says %s', async (_what, bytes) => {
  const url = await saying(bytes);
  const begun = performance.now();
  await expect(requestProvider({ ...request, url, timeout: 200 })).rejects.toMatchObject({
    code: 'provider_unavailable',
    ambiguous: true,
    cause: { message: expect.stringContaining('no complete answer before the deadline') as string },
  });
  expect(performance.now() - begun).toBeGreaterThan(190);
  expect(performance.now() - begun).toBeLessThan(2_000);
});

it("ends with the caller's own signal, which is no deadline of the provider", async () => {
  const signal = AbortSignal.timeout(100);
  await expect(requestProvider({ ...request, url: await saying(''), signal })).rejects.toMatchObject({
    code: 'provider_unavailable',
    cause: { message: expect.not.stringContaining('deadline') as string },
  });
});

it('leaves no timer behind that would run on after the answer', async () => {
  const timers = () => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;
  const url = await listen(createServer((asked, response) => asked.resume().on('end', () => response.end('{}'))));
  await requestProvider({ ...request, url });
  const before = timers();
  for (let i = 0; i < 20; i++) await requestProvider({ ...request, url, timeout: 60_000 });
  expect(timers()).toBeLessThan(before + 20);
});
