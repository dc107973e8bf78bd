// A request as we need it, over Express, Fastify, GraphQL contexts and WebSocket handshakes alike.
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';
import type { ReadCookie } from './cookies.js';
import { type CookieKind, readCookie } from './cookies.js';

/** What the platforms have in common. */
interface NativeRequest {
  headers: IncomingHttpHeaders;
  method?: string;
  url?: string;
  originalUrl?: string;
  ip?: string;
  body?: unknown;
  raw?: IncomingMessage;
  socket?: { remoteAddress?: string };
}

const SAFE_METHODS = new Set(['GET', 'HEAD', 'OPTIONS']);

/** A read-only view of a platform's request. Nothing here trusts `Host` or forwarded headers. */
export class WebRequest {
  /** The platform's own object. */
  readonly native: NativeRequest & Record<string, unknown>;

  constructor(native: unknown) {
    this.native = native as NativeRequest & Record<string, unknown>;
  }

  /** True for objects that look like an HTTP request or handshake. */
  static is(value: unknown): value is object {
    return (
      typeof value === 'object' &&
      value !== null &&
      typeof (value as { headers?: unknown }).headers === 'object' &&
      (value as { headers?: unknown }).headers !== null
    );
  }

  /** The method as received; overrides by header or body mean nothing. */
  get method(): string {
    const { native } = this;
    // Of Node's own requests nobody asks what they do not have: on Express that costs as much as a small lookup.
    const method = native instanceof Readable ? native.method : (native.raw?.method ?? native.method);
    return (method ?? 'GET').toUpperCase();
  }

  /** Request target as received, beginning with `/`; `/` for absolute-form and other odd targets. */
  get target(): string {
    const target = this.native.originalUrl ?? this.native.raw?.url ?? this.native.url ?? '/';
    return target.startsWith('/') ? target : '/';
  }

  /** Query string as received, without `?`. */
  get queryString(): string {
    const mark = this.target.indexOf('?');
    return mark < 0 ? '' : this.target.slice(mark + 1);
  }

  /**
   * The target without the path of `baseUrl`. A proxy takes that off before we see it; within this process Fastify's
   * `rewriteUrl`, middleware that sets `url`, and an Express application that ours is mounted in leave it in the original.
   */
  targetBelow(basePath: string): string {
    const { target, native } = this;
    const routed = native.raw?.url ?? native.url ?? target;
    if (!isBelow(target, basePath) || isBelow(routed, basePath)) return target;
    const rest = target.slice(basePath.length);
    return rest.startsWith('/') ? rest : `/${rest}`;
  }

  /** Where a login that this request needs should come back to: an unsafe method cannot be repeated, a call is no page. */
  landingBelow(basePath: string): string {
    return this.isSafe && this.isNavigation ? this.targetBelow(basePath) : '/';
  }

  /** A header; the first value where the platform keeps several. */
  header(name: string): string | undefined {
    const value = this.native.headers[name];
    return Array.isArray(value) ? value[0] : value;
  }

  /** One of our cookies. */
  cookie(kind: CookieKind, secure: boolean): ReadCookie {
    return readCookie(this.native.headers.cookie, kind, secure);
  }

  /** True for methods that must not change anything (RFC 9110 §9.2.1). */
  get isSafe(): boolean {
    return SAFE_METHODS.has(this.method);
  }

  /** Asks to become a WebSocket: a GET, yet it opens a channel that writes (RFC 6455 §4.1). */
  get isHandshake(): boolean {
    const upgrade = this.header('upgrade');
    return upgrade !== undefined && /(?:^|,)\s*websocket\s*(?:,|$)/i.test(upgrade);
  }

  /** A person is looking: by `Sec-Fetch-Mode`, else by what the client accepts. */
  get isNavigation(): boolean {
    const mode = this.header('sec-fetch-mode');
    if (mode !== undefined) return mode === 'navigate';
    if (this.header('x-requested-with')?.toLowerCase() === 'xmlhttprequest') return false;
    return /\btext\/html\b/i.test(this.header('accept') ?? '');
  }

  /** A form was sent, and a person waits for a page: by `Sec-Fetch-Mode`, else by the content type. */
  get isForm(): boolean {
    const mode = this.header('sec-fetch-mode');
    if (mode !== undefined) return mode === 'navigate';
    return /^application\/x-www-form-urlencoded/i.test(this.header('content-type') ?? '');
  }

  /** The browser is only guessing that the person will come here. */
  get isPrefetch(): boolean {
    return /prefetch|prerender|preview/i.test(
      ['sec-purpose', 'purpose', 'x-purpose', 'x-moz'].map((name) => this.header(name) ?? '').join(' '),
    );
  }

  /**
   * True for what a browser sends to fill an image, a frame, a script or a fetch, and not to show a page. Browsers say mode
   * and site together; a mode alone is said by a program (Node's `fetch` says `cors`), whose cookies nobody else can use.
   */
  get isEmbedded(): boolean {
    const mode = this.header('sec-fetch-mode');
    const destination = this.header('sec-fetch-dest');
    return (
      (mode !== undefined && mode !== 'navigate' && this.header('sec-fetch-site') !== undefined) ||
      (destination !== undefined && destination !== 'document' && destination !== 'empty')
    );
  }

  /**
   * True when a browser says that another origin sent this. Neither header: no browser, and no cookie jar to abuse.
   * @param origin our own, from the configuration
   * @see Fetch Metadata; RFC 6454
   */
  isForeign(origin: string): boolean {
    const site = this.header('sec-fetch-site');
    if (site !== undefined) return site !== 'same-origin' && site !== 'none';
    const from = this.header('origin');
    return from !== undefined && from !== origin;
  }

  /** Address of the peer as the platform sees it. */
  get ip(): string | null {
    const ip = this.native.ip ?? this.native.socket?.remoteAddress ?? this.native.raw?.socket.remoteAddress;
    return typeof ip === 'string' ? ip.slice(0, 64) : null;
  }

  /** The client's name for itself, shortened, without control characters. */
  get userAgent(): string | null {
    return (
      this.header('user-agent')
        ?.replace(/[\u0000-\u001f\u007f]/g, '')
        .slice(0, 256) ?? null
    );
  }
}

function isBelow(target: string, path: string): boolean {
  return target.startsWith(path) && /^(?:[/?]|$)/.test(target.slice(path.length));
}
