// A cookie jar that is as strict as a browser's.
// @see https://datatracker.ietf.org/doc/html/draft-ietf-httpbis-rfc6265bis-22, sections 5.7 and 5.8
import { isIP } from 'node:net';
import { isTrustworthy } from './site.js';

/** One stored cookie. */
export interface Cookie {
  readonly name: string;
  readonly value: string;
  /** Host it belongs to, without a leading dot. */
  readonly domain: string;
  /** True when it goes to that host alone, because there was no `Domain`. */
  readonly hostOnly: boolean;
  readonly path: string;
  readonly secure: boolean;
  readonly httpOnly: boolean;
  /** `Lax` also where the attribute was missing. */
  readonly sameSite: 'Strict' | 'Lax' | 'None';
  /** Milliseconds since the epoch; null for a session cookie. */
  readonly expires: number | null;
  readonly created: number;
}

/** In what way a request is made, as far as cookies are concerned. */
export interface CookieContext {
  /** True when the page that makes the request, or for a navigation the one it came from, is of the target's site. */
  sameSite: boolean;
  /** True for a navigation of the whole window. */
  topLevel: boolean;
  method: string;
}

const LONGEST_LIFE = 400 * 86_400_000;

/** Stores cookies from answers and picks those for requests. */
export class CookieJar {
  private readonly stored = new Map<string, Cookie>();

  /** @param now Gives the time in milliseconds, to move tests through it. */
  constructor(private readonly now: () => number = Date.now) {}

  /** All cookies that have not expired. */
  all(): Cookie[] {
    for (const [key, { expires }] of this.stored)
      if (expires !== null && expires <= this.now()) this.stored.delete(key);
    return [...this.stored.values()];
  }

  /** The cookies a request carries, in the order a browser sends them: longer paths first, then older ones. */
  for(url: URL, context: CookieContext): Cookie[] {
    return this.all()
      .filter((cookie) => reaches(cookie, url) && isAllowed(cookie, context))
      .sort((a, b) => b.path.length - a.path.length || a.created - b.created);
  }

  /** The `Cookie` header of a request, or undefined. */
  header(url: URL, context: CookieContext): string | undefined {
    const pairs = this.for(url, context).map(({ name, value }) => (name ? `${name}=${value}` : value));
    return pairs.length > 0 ? pairs.join('; ') : undefined;
  }

  /**
   * Takes one `Set-Cookie` header.
   *
   * @returns Why it was refused, or undefined when it was stored (or, being expired, removed what it names).
   */
  set(header: string, url: URL, context: CookieContext): string | undefined {
    const cookie = this.parse(header, url);
    if (typeof cookie === 'string') return cookie;
    const refusal = refusalOf(cookie, header, url, context) ?? this.overlaysSecure(cookie, url);
    if (refusal) return refusal;

    const key = keyOf(cookie);
    const old = this.stored.get(key);
    this.stored.delete(key);
    if (cookie.expires === null || cookie.expires > this.now()) {
      this.stored.set(key, { ...cookie, created: old?.created ?? cookie.created });
    }
    return undefined;
  }

  /** Puts a cookie in by hand, whatever the rules say. */
  plant(cookie: Pick<Cookie, 'name' | 'value' | 'domain'> & Partial<Cookie>): void {
    const defaults = {
      hostOnly: true,
      path: '/',
      secure: false,
      httpOnly: false,
      sameSite: 'Lax',
      expires: null,
    } as const;
    const planted = { ...defaults, created: this.now(), ...cookie };
    this.stored.set(keyOf(planted), planted);
  }

  /** Removes all cookies, or those of one name. */
  clear(name?: string): void {
    for (const [key, cookie] of this.stored) if (name === undefined || cookie.name === name) this.stored.delete(key);
  }

  private parse(header: string, url: URL): Cookie | string {
    if (/[\0-\x08\x0a-\x1f\x7f]/.test(header)) return 'control character';
    const [pair = '', ...rest] = header.split(';');
    const split = pair.indexOf('=');
    const name = split < 0 ? '' : pair.slice(0, split).trim();
    const value = pair.slice(split + 1).trim();
    if (!name && !value) return 'neither name nor value';
    if (name.length + value.length > 4096) return 'longer than 4096 bytes';

    const attributes = new Map<string, string>();
    for (const attribute of rest) {
      const [key = '', ...text] = attribute.split('=');
      if (text.join('=').length <= 1024) attributes.set(key.trim().toLowerCase(), text.join('=').trim());
    }
    const domain = (attributes.get('domain') ?? '').replace(/^\./, '').toLowerCase();
    const path = attributes.get('path');
    return {
      ...{ name, value, created: this.now() },
      ...{ domain: domain || url.hostname, hostOnly: domain === '' },
      path: path?.startsWith('/') ? path : defaultPath(url),
      secure: attributes.has('secure'),
      httpOnly: attributes.has('httponly'),
      sameSite: sameSiteOf(attributes.get('samesite')),
      expires: this.expiry(attributes),
    };
  }

  /** `Max-Age` beats `Expires`; neither makes a session cookie; nothing lives beyond 400 days. */
  private expiry(attributes: Map<string, string>): number | null {
    const latest = this.now() + LONGEST_LIFE;
    const age = attributes.get('max-age');
    if (age !== undefined && /^-?\d+$/.test(age))
      return Number(age) <= 0 ? 0 : Math.min(this.now() + Number(age) * 1000, latest);
    const date = Date.parse(attributes.get('expires') ?? '');
    return Number.isNaN(date) ? null : Math.min(date, latest);
  }

  /** An insecure page may not shadow or replace a secure cookie. */
  private overlaysSecure(cookie: Cookie, url: URL): string | undefined {
    if (isTrustworthy(url)) return undefined;
    const clash = this.all().some(
      (other) =>
        other.secure &&
        other.name === cookie.name &&
        (isWithin(other.domain, cookie.domain) || isWithin(cookie.domain, other.domain)) &&
        matchesPath(cookie.path, other.path),
    );
    return clash ? 'would overlay a secure cookie' : undefined;
  }
}

function refusalOf(cookie: Cookie, header: string, url: URL, context: CookieContext): string | undefined {
  if (!cookie.hostOnly) {
    if (!isWithin(url.hostname, cookie.domain)) return 'domain of another host';
    const isSuffix = !cookie.domain.includes('.') || isIP(cookie.domain) > 0;
    if (isSuffix && cookie.domain !== url.hostname) return 'domain is a public suffix';
  }
  if (cookie.secure && !isTrustworthy(url)) return 'secure cookie from an insecure page';
  if (cookie.sameSite === 'None' && !cookie.secure) return 'SameSite=None without Secure';
  if (cookie.sameSite !== 'None' && !context.sameSite && !context.topLevel) return 'SameSite cookie from another site';

  // A nameless cookie is sent as its value alone, so the value must not pass for a prefixed name either.
  const prefix = /^__(host|secure)-/i.exec(cookie.name || cookie.value)?.[1]?.toLowerCase();
  if (prefix && (!cookie.name || !cookie.secure)) return `__${prefix}- prefix without Secure`;
  const isHostCookie = cookie.hostOnly && cookie.path === '/' && /;\s*path\s*=\s*\/\s*(;|$)/i.test(header);
  return prefix === 'host' && !isHostCookie ? '__Host- prefix with Domain, or without Path=/' : undefined;
}

/** `Strict` and `Lax` keep a cookie from other sites; `Lax` lets it go along with a safe navigation of the window. */
function isAllowed(cookie: Cookie, { sameSite, topLevel, method }: CookieContext): boolean {
  if (sameSite || cookie.sameSite === 'None') return true;
  return cookie.sameSite === 'Lax' && topLevel && ['GET', 'HEAD', 'OPTIONS', 'TRACE'].includes(method);
}

function reaches(cookie: Cookie, url: URL): boolean {
  const host = cookie.hostOnly ? url.hostname === cookie.domain : isWithin(url.hostname, cookie.domain);
  return host && matchesPath(url.pathname, cookie.path) && (!cookie.secure || isTrustworthy(url));
}

function isWithin(host: string, domain: string): boolean {
  return host === domain || (host.endsWith(`.${domain}`) && !isIP(host));
}

function matchesPath(path: string, cookiePath: string): boolean {
  if (path === cookiePath) return true;
  return path.startsWith(cookiePath) && (cookiePath.endsWith('/') || path[cookiePath.length] === '/');
}

function defaultPath({ pathname }: URL): string {
  return pathname.slice(0, pathname.lastIndexOf('/')) || '/';
}

function sameSiteOf(text: string | undefined): Cookie['sameSite'] {
  const lower = text?.toLowerCase();
  return lower === 'none' ? 'None' : lower === 'strict' ? 'Strict' : 'Lax';
}

function keyOf({ name, domain, path, hostOnly }: Pick<Cookie, 'name' | 'domain' | 'path' | 'hostOnly'>): string {
  return JSON.stringify([name, domain, path, hostOnly]);
}
