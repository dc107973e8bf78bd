// Where a login may come back to: our own origin, never our own auth routes, never anybody else's site.

import { MAX_RETURN_TO_LENGTH } from '../options/urls.js';

/** What {@link safeReturnTo} judges by. */
export interface ReturnToPolicy {
  /** Origin of the application, e.g. `https://app.example.com`. */
  readonly origin: string;
  /** Paths of the auth routes, e.g. `/auth`. Landing there is refused. */
  readonly authPath: string;
  /** Other origins that are allowed. */
  readonly otherOrigins: readonly string[];
}

/**
 * The absolute URL for a `returnTo` parameter; the application's root for anything that is not clearly ours.
 * @param given the raw parameter; a list (repeated parameter) or nothing counts as unsafe
 */
export function safeReturnTo(given: unknown, policy: ReturnToPolicy): string {
  return checked(given, policy) ?? `${policy.origin}/`;
}

/**
 * Judges a URL that was stored earlier, by today's rules.
 */
export function stillSafe(stored: string, policy: ReturnToPolicy): string {
  // Percent-encoding may have made it longer than what was given.
  return checked(asReturnTo(stored, policy), policy, 12 * MAX_RETURN_TO_LENGTH) ?? `${policy.origin}/`;
}

/** A judged URL as the `returnTo` parameter of a new login: a path where it is on our origin. */
export function asReturnTo(url: string, { origin }: Pick<ReturnToPolicy, 'origin'>): string {
  return url.startsWith(`${origin}/`) ? url.slice(origin.length) : url;
}

function checked(given: unknown, policy: ReturnToPolicy, longest = MAX_RETURN_TO_LENGTH): string | undefined {
  if (typeof given !== 'string' || given.length > longest) return undefined;
  // Parsers disagree about these: TAB and newlines vanish in some, backslashes become slashes in others.
  if (/[\u0000-\u001f\u007f-\u009f\\]/.test(given)) return undefined;
  if (/^\/(?![/\\])/.test(given)) return ownPath(given, policy);
  const url = /^https?:\/\/[^/\\@]/i.test(given) ? parsed(given) : undefined;
  if (!url || url.username || url.password || !policy.otherOrigins.includes(url.origin)) return undefined;
  // The authority must be spelled as the origin is: no mapped characters, no look-alikes.
  return given.startsWith(url.origin) && /^([/?#]|$)/.test(given.slice(url.origin.length)) ? url.href : undefined;
}

function ownPath(given: string, { origin, authPath }: ReturnToPolicy): string | undefined {
  const [path = ''] = given.split(/[?#]/, 1);
  if (/%(2f|5c)/i.test(path)) return undefined;
  const url = parsed(given, origin);
  if (url?.origin !== origin || url.pathname.startsWith('//')) return undefined;
  return isAuthRoute(url.pathname, authPath) ? undefined : url.href;
}

function parsed(given: string, base?: string): URL | undefined {
  try {
    return new URL(given, base);
  } catch {
    return undefined;
  }
}

/** True for a path at or below the auth routes. Compares as lenient routers do: decoded, case-folded, without empty segments. */
export function isAuthRoute(pathname: string, authPath: string): boolean {
  const path = normalised(pathname);
  const auth = normalised(authPath);
  return path === undefined || path === auth || path.startsWith(`${auth}/`);
}

function normalised(path: string): string | undefined {
  try {
    const plain = decodeURIComponent(path).toLowerCase();
    const segments = plain.split('/').filter((segment) => segment !== '' && segment !== '.');
    return `/${segments.map((segment) => segment.replace(/;.*$/, '')).join('/')}`;
  } catch {
    return undefined;
  }
}
