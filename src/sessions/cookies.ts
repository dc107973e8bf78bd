// The two cookies, exactly as RFC 6265bis wants them: opaque, HttpOnly, Lax, host-bound; and no tolerance in reading.
import { isToken } from '../crypto/random.js';

/** Which of the two cookies. */
export type CookieKind = 'session' | 'browser';

/** Longest life that browsers grant a cookie: 400 days, in seconds. */
export const BROWSER_COOKIE_MAX_AGE = 34_560_000;

const NAMES = {
  session: ['oauth_session', '__Host-oauth_session'],
  browser: ['oauth_browser', '__Host-oauth_browser'],
} as const;

/** Name on the wire: `__Host-` on https, plain on http loopback, where browsers refuse the prefix. */
export function cookieName(kind: CookieKind, secure: boolean): string {
  return NAMES[kind][secure ? 1 : 0];
}

/** A `Set-Cookie` value. @param maxAge seconds; 0 clears the cookie */
export function serializeCookie(kind: CookieKind, value: string, options: { secure: boolean; maxAge: number }): string {
  const maxAge = Math.max(0, Math.floor(options.maxAge));
  return `${cookieName(kind, options.secure)}=${value}; Path=/; Max-Age=${maxAge}; HttpOnly; SameSite=Lax${options.secure ? '; Secure' : ''}`;
}

/** What a request says about one of our cookies. */
export interface ReadCookie {
  /** The value, if there is exactly one and it is spelled as we spell it. */
  readonly value: string | null;
  /** True when the name occurs at all. */
  readonly present: boolean;
}

/**
 * Reads one of our cookies from a `Cookie` header. Two cookies of the name, another case, an encoded name or a
 * value that we could not have made count as none: there is no way to tell which one is ours.
 */
export function readCookie(header: string | undefined, kind: CookieKind, secure: boolean): ReadCookie {
  if (!header) return { value: null, present: false };
  const name = cookieName(kind, secure);
  let found: string | undefined;
  let count = 0;
  // Every guarded request passes here: no list of all cookies is made to find one.
  for (let start = 0, end: number, equals = -1; start < header.length; start = end + 1) {
    if (equals < start) equals = header.indexOf('=', start);
    if (equals < 0) break;
    end = header.indexOf(';', start);
    if (end < 0) end = header.length;
    if (equals > end || between(header, start, equals) !== name) continue;
    count++;
    found = between(header, equals + 1, end);
  }
  return { value: count === 1 && isToken(found) ? found : null, present: count > 0 };
}

/**
 * What stands there without spaces and tabs around it, as browsers take it (RFC 6265 §5.2). `trim` takes more: a neighbouring
 * domain may set a cookie whose name begins with a no-break space, which no browser takes for one with the `__Host-` prefix.
 */
function between(header: string, start: number, end: number): string {
  while (start < end && isBlank(header.charCodeAt(start))) start++;
  while (end > start && isBlank(header.charCodeAt(end - 1))) end--;
  return header.slice(start, end);
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09;
}
