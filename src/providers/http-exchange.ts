// One request and the head of its answer, over Node's own client, which costs less than its `fetch`, and its pool; over
// `fetch` where the application gives a dispatcher of its own. Nothing else sends HTTP.
import { Agent as TcpAgent, type AgentOptions, globalAgent as tcpAgent, request as overTcp } from 'node:http';
import { Agent, globalAgent, request as overTls } from 'node:https';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { ReadableStream } from 'node:stream/web';
import { createBrotliDecompress, createGunzip, createInflate } from 'node:zlib';
import type { ClientTls } from '../options/client-tls.js';
import type { Deadline } from './request-deadline.js';
import { endSilent } from './request-silence.js';

/** An answer whose body is still to come. */
export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: Readable | ReadableStream<Uint8Array> | null;
}

/** By Node's `fetch`, which knows the application's dispatchers. */
export function fetched(url: URL, init: RequestInit, dispatcher?: object): Promise<Response> {
  return fetch(url, { ...init, redirect: 'manual', ...(dispatcher ? { dispatcher } : {}) } as RequestInit);
}

/** Idle connections are left before servers leave them (many after 5 s): what is sent over one just then is lost. Milliseconds. */
const MAX_IDLE = 4_000;
/** Connections are kept per set of certificates; without any, as Node was told at its start (through a proxy, say). */
const agents = new WeakMap<ClientTls, Agent>();
let plain: TcpAgent | undefined;
let secure: Agent | undefined;

function agentOf(url: URL, tls: ClientTls | undefined): TcpAgent {
  if (url.protocol === 'http:')
    return (plain ??= new TcpAgent({ ...optionsOf(tcpAgent), keepAlive: true, timeout: MAX_IDLE }));
  if (!tls) return (secure ??= new Agent({ ...optionsOf(globalAgent), keepAlive: true, timeout: MAX_IDLE }));
  const { cert, key, passphrase, ca } = tls;
  let agent = agents.get(tls);
  // Certificates are checked whatever the environment says.
  const checked = { rejectUnauthorized: true, cert, key, passphrase, ca: ca && [...ca] };
  agent ??= new Agent({ keepAlive: true, timeout: MAX_IDLE, ...checked });
  agents.set(tls, agent);
  return agent;
}

/** What Node's types know of its agents over TLS only. */
function optionsOf(agent: TcpAgent): AgentOptions {
  return (agent as TcpAgent & { readonly options: AgentOptions }).options;
}

const DECODERS = new Map([
  ['gzip', createGunzip],
  ['x-gzip', createGunzip],
  ['deflate', createInflate],
  ['br', createBrotliDecompress],
]);

/** By Node's own client. */
export function exchanged(
  url: URL,
  given: {
    method: string;
    headers: Readonly<Record<string, string>>;
    body: string | ReadableStream | null;
    signal?: AbortSignal | null | undefined;
    silence?: number;
  },
  tls: ClientTls | undefined,
  deadline?: Deadline,
): Promise<Answer & { readonly body: Readable | null }> {
  const { method, body, signal, silence } = given;
  const length = typeof body === 'string' ? { 'content-length': Buffer.byteLength(body) } : {};
  const headers = { 'accept-encoding': 'identity', 'user-agent': 'nest-oauth-client', ...given.headers, ...length };
  return new Promise((resolve, reject) => {
    let answered = false;
    const options = { method, headers, agent: agentOf(url, tls), ...(signal ? { signal } : {}) };
    const outgoing = (url.protocol === 'https:' ? overTls : overTcp)(url, options, (incoming) => {
      answered = true;
      // Failures reach the reader of the body; where there is none, there is nobody to hear of them.
      incoming.on('error', () => undefined);
      const received = new Headers();
      for (let at = 0; at < incoming.rawHeaders.length; at += 2)
        received.append(incoming.rawHeaders[at]!, incoming.rawHeaders[at + 1]!);
      const status = incoming.statusCode ?? 0;
      if (status < 200 || status > 599) {
        incoming.destroy();
        return reject(new Error('the answer has an impossible status'));
      }
      if (method === 'HEAD' || [204, 205, 304].includes(status)) {
        // Whatever packing it names: nobody would hear a decoder complain of nothing, and that ends the process.
        incoming.resume();
        return resolve({ status, headers: received, body: null });
      }
      const decoder = DECODERS.get(received.get('content-encoding')?.trim().toLowerCase() ?? '')?.();
      if (decoder) pipeline(incoming, decoder).catch(() => undefined);
      resolve({ status, headers: received, body: decoder ?? incoming });
    });
    deadline?.onPassed((reason) => outgoing.destroy(reason));
    if (silence !== undefined) endSilent(outgoing, silence);
    outgoing.on('error', reject);
    // Where the server changes the protocol, which nobody asked for, there is neither an answer nor an error.
    // No error is made for nobody: each takes a stack trace, and there are two per request.
    outgoing.on('close', () => answered || reject(new Error('the connection was closed without an answer')));
    if (body === null || typeof body === 'string') outgoing.end(body ?? undefined);
    else pipeline(Readable.fromWeb(body), outgoing).catch(reject);
  });
}
