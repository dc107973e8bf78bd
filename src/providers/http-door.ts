// The one door to the outside: https (loopback excepted), no redirects followed, one total deadline including the
// body, at most 1 MiB unpacked.
import { Readable } from 'node:stream';
import { ClientTls } from '../options/client-tls.js';
import { isLoopback } from '../options/urls.js';
import { readBounded } from './bounded-body.js';
import { brokenOff, failedStatus } from './failed-request.js';
import { type Answer, exchanged, fetched } from './http-exchange.js';
import { ProviderError } from './provider-fault.js';
import { Deadline } from './request-deadline.js';

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
