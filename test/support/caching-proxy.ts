// A shared cache in front of an application, as careless as the specification allows: it keeps every answer to a GET that
// does not forbid it, for all users alike, and tells them apart only by what `Vary` names (RFC 9111 §3, §4.1).
import { createServer, type IncomingMessage, request } from 'node:http';
import type { AddressInfo } from 'node:net';

/** A running cache. */
export interface CachingProxy extends AsyncDisposable {
  /** Where it listens, without trailing slash. */
  readonly url: string;
  /** Answers given from memory so far. */
  hits: number;
}

interface Stored {
  status: number;
  headers: [string, string][];
  body: Buffer;
  vary: readonly string[];
  asked: IncomingMessage['headers'];
}

/** Starts a cache in front of `origin`. */
export async function startCachingProxy(origin: string): Promise<CachingProxy> {
  const kept = new Map<string, Stored[]>();
  const server = createServer((incoming, answer) => {
    const key = `${incoming.method} ${incoming.url}`;
    const hit = kept
      .get(key)
      ?.find(({ vary, asked }) => vary.every((name) => asked[name] === incoming.headers[name] && name !== '*'));
    const give = ({ status, headers, body }: Stored): void => {
      answer.writeHead(status, headers.flat());
      answer.end(body);
    };
    if (hit) {
      proxy.hits++;
      return give(hit);
    }
    const outgoing = request(
      origin + incoming.url,
      { method: incoming.method ?? 'GET', headers: incoming.headers, agent: false },
      (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('end', () => {
          const { rawHeaders: raw } = response;
          const headers = raw.flatMap((name, at) => (at % 2 === 0 ? [[name, raw[at + 1]!] as [string, string]] : []));
          const stored: Stored = {
            status: response.statusCode ?? 502,
            headers: headers.filter(([name]) => !/^(?:transfer-encoding|connection|keep-alive)$/i.test(name)),
            body: Buffer.concat(chunks),
            vary: (response.headers.vary ?? '')
              .toLowerCase()
              .split(/\s*,\s*/)
              .filter(Boolean),
            asked: incoming.headers,
          };
          const forbidden = /no-store|private/i.test(response.headers['cache-control'] ?? '');
          if (incoming.method === 'GET' && !forbidden) kept.set(key, [...(kept.get(key) ?? []), stored]);
          give(stored);
        });
      },
    );
    incoming.pipe(outgoing);
  });
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  const proxy: CachingProxy = {
    url: `http://localhost:${(server.address() as AddressInfo).port}`,
    hits: 0,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((closed) => server.close(closed));
    },
  };
  return proxy;
}
