// What stands before an application in the real world: TLS for several host names on one port. One host is the
// application's; the others are a sibling and a stranger, with pages that a test writes.
import { createServer, type Server } from 'node:https';
import { request, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { makeCertificate } from '../../src/testing/index.js';

/** A page of a host that is not the application's. */
export interface StrangePage {
  html: string;
  setCookies?: readonly string[];
}

/** See {@link startTlsFront}. */
export interface TlsFront extends AsyncDisposable {
  readonly port: number;
  /** Pages by `host/path`. */
  readonly pages: Map<string, StrangePage>;
}

/** Starts it. The application's address may be set later, since its public URL names this port. */
export async function startTlsFront(
  hosts: readonly string[],
  application: () => { host: string; address: string },
): Promise<TlsFront> {
  const { key, cert } = makeCertificate({ commonName: hosts[0]!, hosts: [...hosts] });
  const pages = new Map<string, StrangePage>();
  const answer = (incoming: IncomingMessage, outgoing: ServerResponse) => {
    const host = (incoming.headers.host ?? '').split(':')[0]!;
    const app = application();
    if (host === app.host) return forward(incoming, outgoing, app.address);
    const page = pages.get(`${host}${incoming.url ?? '/'}`);
    outgoing.writeHead(page ? 200 : 404, {
      'content-type': 'text/html; charset=utf-8',
      ...(page?.setCookies && { 'set-cookie': [...page.setCookies] }),
    });
    outgoing.end(page?.html ?? '');
  };
  const server: Server = createServer({ key, cert }, answer);
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  return {
    port: (server.address() as AddressInfo).port,
    pages,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
    },
  };
}

function forward(incoming: IncomingMessage, outgoing: ServerResponse, address: string): void {
  const onward = request(
    new URL(incoming.url ?? '/', address),
    { method: incoming.method, headers: incoming.headers },
    (answer) => {
      outgoing.writeHead(answer.statusCode ?? 502, answer.rawHeaders);
      answer.pipe(outgoing);
    },
  );
  onward.on('error', () => outgoing.destroy());
  incoming.pipe(onward);
}
