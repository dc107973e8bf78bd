// The one door to the outside: https (loopback excepted), no redirects followed, one total deadline including the
// body, at most 1 MiB unpacked. Connections are kept alive by Node's own pool.
import { Agent, request as overTls } from 'node:https';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createBrotliDecompress, createGunzip, createInflate } from 'node:zlib';
import { ClientTls } from '../options/client-tls.js';
import { isLoopback } from '../options/urls.js';
import { ProviderError } from './provider-fault.js';

/** Largest body read from a provider, bytes after decompression. */
export const MAX_BODY_BYTES = 1024 * 1024;

/** A request through the door. */
export interface DoorRequest {
  url: string | URL;
  method?: string;
  headers?: RequestInit['headers'];
  body?: RequestInit['body'];
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

/** Failures that happen before any byte of the request is sent: trying again is harmless. */
const NOT_SENT = new Set([
  'ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH', 'UND_ERR_CONNECT_TIMEOUT',
  'ERR_TLS_CERT_ALTNAME_INVALID', 'CERT_HAS_EXPIRED', 'DEPTH_ZERO_SELF_SIGNED_CERT', 'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE', 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
]); // prettier-ignore

/**
 * Sends one request and reads the whole answer.
 * @throws {ProviderError} `provider_unavailable` when nothing usable comes back in time; `provider_error` for 5xx, 429 and oversized answers.
 */
export async function requestProvider(request: DoorRequest): Promise<DoorAnswer> {
  const url = secured(request.url, request.provider);
  const deadline = AbortSignal.timeout(request.timeout);
  const signal = request.signal ? AbortSignal.any([deadline, request.signal]) : deadline;
  let response: Response | undefined;
  try {
    const init = {
      method: request.method ?? 'GET',
      signal,
      ...(request.headers ? { headers: request.headers } : {}),
      ...(request.body == null ? {} : { body: request.body }),
    };
    response = await sent(url, init, request.dispatcher);
    const body = await readBounded(response, request.provider);
    const contentType = (response.headers.get('content-type') ?? '').split(';', 1)[0]!.trim().toLowerCase();
    if (response.status >= 500 || response.status === 429) throw failedStatus(response, request.provider);
    return { status: response.status, headers: response.headers, contentType, body };
  } catch (error) {
    if (error instanceof ProviderError) throw error;
    throw brokenOff(error, {
      provider: request.provider,
      answered: response !== undefined,
      timedOut: deadline.aborted,
    });
  }
}

/**
 * Sends one request to a provider's API and hands the answer out as it streams. Redirects come back as they are.
 * @throws {ProviderError} `provider_unavailable`
 */
export async function streamFromApi(
  url: URL,
  init: RequestInit,
  { provider, dispatcher }: Pick<DoorRequest, 'provider' | 'dispatcher'>,
): Promise<Response> {
  try {
    return await sent(secured(url, provider), init, dispatcher);
  } catch (error) {
    // The caller's own abort is the caller's business.
    if (init.signal?.aborted) throw error;
    throw brokenOff(error, { provider, answered: false, timedOut: false });
  }
}

/** Over Node's `fetch`, or with TLS of its own, which `fetch` has no way to be told of. Redirects are not followed. */
function sent(url: URL, init: RequestInit, dispatcher: object | undefined): Promise<Response> {
  if (dispatcher instanceof ClientTls && url.protocol === 'https:') return sentOverTls(url, init, dispatcher);
  const through = dispatcher === undefined || dispatcher instanceof ClientTls ? {} : { dispatcher };
  return fetch(url, { ...init, redirect: 'manual', ...through } as RequestInit);
}

/** Connections are kept per set of certificates. */
const agents = new WeakMap<ClientTls, Agent>();

function agentOf(tls: ClientTls): Agent {
  const { cert, key, passphrase, ca } = tls;
  let agent = agents.get(tls);
  // Certificates are checked whatever the environment says.
  agent ??= new Agent({ keepAlive: true, rejectUnauthorized: true, cert, key, passphrase, ca: ca && [...ca] });
  agents.set(tls, agent);
  return agent;
}

const DECODERS = new Map([
  ['gzip', createGunzip],
  ['x-gzip', createGunzip],
  ['deflate', createInflate],
  ['br', createBrotliDecompress],
]);

/**
 * How a message travels is nothing for applications that pass headers on. Unlike `fetch`, Node's `request` would believe a
 * `content-length` that is too short, and the rest of the body would be the next request of this connection; and `host`
 * would say whose certificate is right. Texts are counted anew, streams are sent in chunks.
 */
const FRAMING = [
  'host', 'content-length', 'transfer-encoding', 'connection', 'keep-alive', 'te', 'trailer', 'upgrade', 'expect',
]; // prettier-ignore

function sentOverTls(url: URL, init: RequestInit, tls: ClientTls): Promise<Response> {
  // Without the signal: a Request's own follows it only until the Request is collected, and the deadline would be lost.
  const { method, headers, body } = new Request(url, {
    ...init,
    signal: null,
    ...(init.body == null ? {} : { duplex: 'half' }),
  });
  const text = typeof init.body === 'string' || init.body instanceof URLSearchParams ? String(init.body) : undefined;
  for (const name of FRAMING) headers.delete(name);
  return new Promise<Response>((resolve, reject) => {
    const options = {
      method,
      agent: agentOf(tls),
      ...(init.signal ? { signal: init.signal } : {}),
      headers: { 'accept-encoding': 'identity', ...Object.fromEntries(headers) },
    };
    const outgoing = overTls(url, options, (incoming) => {
      // Failures reach the reader of the body; where there is none, there is nobody to hear of them.
      incoming.on('error', () => undefined);
      const received = new Headers();
      for (let at = 0; at < incoming.rawHeaders.length; at += 2)
        received.append(incoming.rawHeaders[at]!, incoming.rawHeaders[at + 1]!);
      const status = incoming.statusCode ?? 0;
      const decoder = DECODERS.get(received.get('content-encoding')?.trim().toLowerCase() ?? '')?.();
      if (decoder) pipeline(incoming, decoder).catch(() => undefined);
      const empty = method === 'HEAD' || [204, 205, 304].includes(status);
      if (empty) incoming.resume();
      try {
        resolve(
          new Response(empty ? null : (Readable.toWeb(decoder ?? incoming) as RequestInit['body']), {
            status,
            headers: received,
          }),
        );
      } catch (error) {
        incoming.destroy();
        reject(error instanceof Error ? error : new Error('unusable answer'));
      }
    });
    outgoing.on('error', reject);
    if (text !== undefined || body === null) outgoing.end(text);
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

async function readBounded(response: Response, provider: string): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of (response.body ?? []) as AsyncIterable<Uint8Array>) {
    size += chunk.byteLength;
    if (size > MAX_BODY_BYTES) {
      throw new ProviderError('provider_error', {
        provider,
        ambiguous: true,
        httpStatus: response.status,
        cause: new Error(`the answer is larger than ${MAX_BODY_BYTES} bytes`),
      });
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, size);
}

function failedStatus(response: Response, provider: string): ProviderError {
  const retryAfter = parseRetryAfter(response.headers.get('retry-after'));
  return new ProviderError(
    response.status === 429 || response.status === 503 ? 'provider_unavailable' : 'provider_error',
    {
      provider,
      httpStatus: response.status,
      // A 5xx may come from a gateway behind which the request went through; a 429 was not processed.
      ambiguous: response.status >= 500,
      cause: new Error(`the provider answered with status ${response.status}`),
      ...(retryAfter === undefined ? {} : { retryAfter }),
    },
  );
}

/** `Retry-After` in seconds (RFC 9110 §10.2.3), at most an hour. */
export function parseRetryAfter(value: string | null, now = Date.now()): number | undefined {
  if (value === null) return undefined;
  const seconds = /^\d{1,9}$/.test(value.trim()) ? Number(value) : Math.ceil((Date.parse(value) - now) / 1000);
  return Number.isFinite(seconds) ? Math.min(Math.max(seconds, 0), 3600) : undefined;
}

function brokenOff(
  error: unknown,
  { provider, answered, timedOut }: { provider: string; answered: boolean; timedOut: boolean },
): ProviderError {
  const codes: string[] = [];
  // By shape, not by class: errors of fetch may come from another realm than this module.
  const visit = (at: unknown, depth: number): void => {
    if (typeof at !== 'object' || at === null || depth > 4) return;
    const { code, errors, cause } = at as { code?: unknown; errors?: unknown; cause?: unknown };
    if (typeof code === 'string') codes.push(code);
    if (Array.isArray(errors)) errors.forEach((inner) => visit(inner, depth + 1));
    visit(cause, depth + 1);
  };
  visit(error, 0);
  const notSent = !answered && !timedOut && codes.length > 0 && codes.every((code) => NOT_SENT.has(code));
  const reason = timedOut
    ? 'no complete answer before the deadline'
    : (codes[0] ?? (error instanceof Error ? error.message : 'the connection broke'));
  return new ProviderError('provider_unavailable', {
    provider,
    ambiguous: !notSent,
    cause: new Error(`request to the provider failed: ${reason}`),
  });
}
