// An answer of ours, over Express and Fastify alike, with the headers that all our answers carry.
import type { ServerResponse } from 'node:http';
import { Stream } from 'node:stream';

interface FastifyReply {
  code(status: number): FastifyReply;
  header(name: string, value: string | string[]): FastifyReply;
  removeHeader(name: string): FastifyReply;
  getHeader(name: string): string | number | string[] | undefined;
  send(body?: string): FastifyReply;
  raw: ServerResponse;
}

/** Headers of every answer of ours: it may name a user or set a cookie, so no cache keeps it and no page frames it. */
const SECURITY_HEADERS: Readonly<Record<string, string>> = {
  'cache-control': 'no-store',
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
};

/** Writes answers to a platform's response. */
export class WebResponse {
  /** Fastify's, where that is the platform. */
  readonly #reply: FastifyReply | undefined;
  /** Node's. */
  readonly #raw: ServerResponse;

  constructor(native: unknown) {
    // Judged once: on Express, to ask a response for what it does not have costs more than a header.
    const response = native as ServerResponse | FastifyReply;
    const isFastify = isReply(response);
    this.#reply = isFastify ? response : undefined;
    this.#raw = isFastify ? response.raw : response;
  }

  /** True once something was sent: nothing can be changed then. */
  get isSent(): boolean {
    return this.#raw.headersSent;
  }

  /** Sets a header. */
  setHeader(name: string, value: string | string[]): void {
    if (this.#reply) this.#reply.header(name, value);
    else this.#raw.setHeader(name, value);
  }

  /** Adds `Set-Cookie` values to those already set by anybody. */
  addCookies(cookies: readonly string[]): void {
    if (cookies.length === 0) return;
    const before = this.#values('set-cookie');
    // Fastify appends where others replace, and loses what middleware set: read, remove, set the whole list.
    (this.#reply ?? this.#raw).removeHeader('set-cookie');
    this.setHeader('set-cookie', [...new Set([...before, ...cookies])]);
  }

  /** Sets the headers of our own answers; given ones win. */
  secure(headers: Readonly<Record<string, string>> = {}): void {
    for (const [name, value] of Object.entries({ ...SECURITY_HEADERS, ...headers })) this.setHeader(name, value);
    // What the application's own middleware said (CORS says `Origin`) stays true.
    const vary = [...new Set(this.#values('vary').flatMap((value) => value.split(/\s*,\s*/)))];
    if (!vary.some((field) => field === '*' || field.toLowerCase() === 'cookie'))
      this.setHeader('vary', [...vary, 'Cookie'].filter((field) => field !== '').join(', '));
  }

  /** Ends with a redirect and no body. @param status 302 for navigations, 303 after anything else */
  redirect(status: 302 | 303, url: string): void {
    this.setHeader('location', url);
    this.#send(status, '');
  }

  /** Ends with a body. */
  send(status: number, contentType: string, body: string): void {
    this.setHeader('content-type', contentType);
    this.#send(status, body);
  }

  /** Ends with JSON. */
  json(status: number, body: unknown, contentType = 'application/json; charset=utf-8'): void {
    this.send(status, contentType, JSON.stringify(body));
  }

  /** What was set so far under a name: by anybody on this platform, on Fastify also by middleware, which sees the raw response. */
  #values(name: string): string[] {
    return [this.#reply?.getHeader(name), this.#raw.getHeader(name)]
      .flat()
      .filter((value) => value !== undefined)
      .map(String);
  }

  #send(status: number, body: string): void {
    if (this.#reply) {
      this.#reply.code(status).send(body);
    } else {
      this.#raw.statusCode = status;
      this.#raw.end(body);
    }
  }
}

function isReply(native: ServerResponse | FastifyReply): native is FastifyReply {
  return (
    !(native instanceof Stream) &&
    typeof (native as Partial<FastifyReply>).code === 'function' &&
    typeof (native as Partial<FastifyReply>).send === 'function' &&
    'raw' in native
  );
}
