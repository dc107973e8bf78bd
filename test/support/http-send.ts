// Sends one HTTP request exactly as it is given: any header, no redirects, no cookies, no waiting for ever.
import { request as overHttp } from 'node:http';
import { request as overHttps } from 'node:https';

/** What to send. */
export interface RawRequest {
  url: URL;
  method?: string;
  /** The request target as it goes over the wire, where the URL's own would be normalised. */
  path?: string | undefined;
  headers?: Record<string, string | string[]>;
  body?: string | undefined;
}

/** What came back. */
export interface RawAnswer {
  status: number;
  headers: Headers;
  body: string;
}

const DEADLINE = 30_000;

/**
 * Sends it over a connection of its own.
 *
 * @throws {Error} When the connection fails or 30 seconds pass.
 */
export function send({ url, method = 'GET', path, headers = {}, body }: RawRequest): Promise<RawAnswer> {
  return new Promise((done, fail) => {
    const overWire = url.protocol === 'https:' ? overHttps : overHttp;
    const length = body === undefined ? {} : { 'content-length': String(Buffer.byteLength(body)) };
    const options = {
      method,
      headers: { ...length, ...headers },
      agent: false,
      timeout: DEADLINE,
      ...(path !== undefined && { path }),
    };
    const request = overWire(url, options, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', fail);
      response.on('end', () => {
        const received = new Headers();
        for (let index = 0; index < response.rawHeaders.length; index += 2) {
          received.append(response.rawHeaders[index] ?? '', response.rawHeaders[index + 1] ?? '');
        }
        done({ status: response.statusCode ?? 0, headers: received, body: Buffer.concat(chunks).toString('utf8') });
      });
    });
    request.on('timeout', () => request.destroy(new Error(`No answer from ${url.href} in ${DEADLINE} ms`)));
    request.on('error', fail);
    request.end(body);
  });
}
