// The one door to the outside: https (loopback excepted), no redirects followed, one total deadline including the
// body, at most 1 MiB unpacked. Over Node's own client, which costs less than its `fetch`, and its pool.
import { Agent as TcpAgent, type AgentOptions, globalAgent as tcpAgent, request as overTcp } from 'node:http';
import { Agent, globalAgent, request as overTls } from 'node:https';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { ReadableStream } from 'node:stream/web';
import { createBrotliDecompress, createGunzip, createInflate } from 'node:zlib';
import { ClientTls } from '../options/client-tls.js';
import { isLoopback } from '../options/urls.js';
import { readBounded } from './bounded-body.js';
import { brokenOff, failedStatus } from './failed-request.js';
import { ProviderError } from './provider-fault.js';
import { Deadline } from './request-deadline.js';
import { endSilent } from './request-silence.js';

/** An API that has said nothing for so long has gone: as long as `fetch` waits for a head, and within a body. Milliseconds. */
const MAX_SILENCE = 300_000;

/** A request through the door. */
export interface DoorRequest {
  url: string | URL;
  method?: string;
  /** Names in lower case. */
  headers?: Readonly<Record<string, string>>;
  body?: URLSearchParams | string | null | undefined;
  /** Total time for connecting, sending and reading the whole body, milliseconds. */
  timeout: number;
  signal?: AbortSignal | null | undefined;
  /** Name of the provider, for the error. */
  provider: string;
  /** TLS of its own ({@link ClientTls}), or an undici dispatcher of the application's: a proxy, limits on connections. */
  dispatcher?: object | undefined;
}

/** An answer whose body is already read. */
export interface DoorAnswer {
  status: number;
  headers: Headers;
  /** Media type in lower case without parameters; empty when there is none. */
  contentType: string;
  body: Buffer;
}

/**
 * Sends one request and reads the whole answer.
 * @throws {ProviderError} `provider_unavailable` when nothing usable comes back in time; `provider_error` for 5xx, 429 and oversized answers.
 */
export async function requestProvider(request: DoorRequest): Promise<DoorAnswer> {
  const url = secured(request.url, request.provider);
  const { method = 'GET', headers = {}, body, provider, dispatcher, timeout, signal } = request;
  const deadline = new Deadline(timeout);
  let answer: Answer | undefined;
  try {
    answer =
      dispatcher === undefined || dispatcher instanceof ClientTls
        ? await exchanged(
            url,
            { method, headers, body: body == null ? null : String(body), signal },
            dispatcher,
            deadline,
          )
        : await fetched(
            url,
            { method, headers, ...(body == null ? {} : { body }), signal: deadline.asSignal(signal) },
            dispatcher,
          );
    const { status, headers: received } = answer;
    const whole = await readBounded(answer, provider);
    if (status >= 500 || status === 429) throw failedStatus(answer, provider);
    const contentType = (received.get('content-type') ?? '').split(';', 1)[0]!.trim().toLowerCase();
    return { status, headers: received, contentType, body: whole };
  } catch (error) {
    if (error instanceof ProviderError) throw error;
    throw brokenOff(error, { provider, answered: answer !== undefined, timedOut: deadline.passed });
  } finally {
    deadline.clear();
  }
}

/**
 * Sends one request to a provider's API and hands the answer out as it streams. Redirects come back as they are.
 * @param silence ends a request with TLS of its own: without the head of an answer, or a part of its body, for so long;
 * milliseconds. Otherwise `fetch` has bounds of its own.
 * @throws {ProviderError} `provider_unavailable`
 */
export async function streamFromApi(
  url: URL,
  init: RequestInit,
  { provider, dispatcher }: Pick<DoorRequest, 'provider' | 'dispatcher'>,
  silence = MAX_SILENCE,
): Promise<Response> {
  try {
    const target = secured(url, provider);
    if (!(dispatcher instanceof ClientTls)) return await fetched(target, init, dispatcher);
    if (target.protocol !== 'https:') return await fetched(target, init);
    return await fetchedOverTls(target, init, dispatcher, silence);
  } catch (error) {
    // The caller's own abort is the caller's business.
    if (init.signal?.aborted) throw error;
    throw brokenOff(error, { provider, answered: false, timedOut: false });
  }
}

/** An answer whose body is still to come. */
interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: Readable | ReadableStream<Uint8Array> | null;
}

/** By Node's `fetch`, which knows the application's dispatchers. */
function fetched(url: URL, init: RequestInit, dispatcher?: object): Promise<Response> {
  return fetch(url, { ...init, redirect: 'manual', ...(dispatcher ? { dispatcher } : {}) } as RequestInit);
}

/**
 * How a message travels is nothing for applications that pass headers on. Unlike `fetch`, Node's `request` would believe a
 * `content-length` that is too short, and the rest of the body would be the next request of this connection; and `host`
 * would say whose certificate is right. Texts are counted anew, streams are sent in chunks.
 */
const FRAMING = [
  'host', 'content-length', 'transfer-encoding', 'connection', 'keep-alive', 'te', 'trailer', 'upgrade', 'expect',
]; // prettier-ignore

/** As {@link fetched}, with TLS of its own, which `fetch` has no way to be told of. */
async function fetchedOverTls(url: URL, init: RequestInit, tls: ClientTls, silence: number): Promise<Response> {
  // Without the signal: a Request's own follows it only until the Request is collected, and the deadline would be lost.
  const { method, headers, body } = new Request(url, {
    ...init,
    signal: null,
    ...(init.body == null ? {} : { duplex: 'half' }),
  });
  const text = typeof init.body === 'string' || init.body instanceof URLSearchParams ? String(init.body) : undefined;
  for (const name of FRAMING) headers.delete(name);
  const { body: stream, ...answer } = await exchanged(
    url,
    {
      method,
      headers: Object.fromEntries(headers),
      body: text ?? body,
      signal: init.signal,
      silence,
    },
    tls,
  );
  return new Response(stream && (Readable.toWeb(stream) as RequestInit['body']), answer);
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
function exchanged(
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

function secured(given: string | URL, provider: string): URL {
  const url = new URL(given);
  if (url.protocol !== 'https:' && !(url.protocol === 'http:' && isLoopback(url.hostname))) {
    throw new ProviderError('invalid_metadata', {
      provider,
      cause: new Error(`only https is allowed, got ${url.protocol}//${url.host}`),
    });
  }
  return url;
}
