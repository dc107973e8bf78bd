// What counts as one origin, one site, and a trustworthy place, as browsers judge it.
// @see https://html.spec.whatwg.org/multipage/browsers.html#sites
import { isIP } from 'node:net';

/** `same-origin`, `same-site` or `cross-site`: how a request's target relates to where it comes from. */
export type Relation = 'same-origin' | 'same-site' | 'cross-site';

/**
 * The site of a URL: scheme and registrable domain. The last two labels count as the registrable domain, which is
 * right for the names tests use; the list of public suffixes is not consulted.
 */
export function siteOf(url: URL): string {
  return `${url.protocol}//${registrableDomain(url.hostname)}`;
}

/** How `to` relates to `from`. The port is part of an origin and not of a site. */
export function relationOf(from: URL, to: URL): Relation {
  if (from.origin === to.origin) return 'same-origin';
  return siteOf(from) === siteOf(to) ? 'same-site' : 'cross-site';
}

/** True for https, and for loopback whatever the scheme: there browsers keep `Secure` cookies, too. */
export function isTrustworthy(url: URL): boolean {
  const host = url.hostname.replace(/^\[|\]$/g, '');
  return url.protocol === 'https:' || host === '::1' || /^127\./.test(host) || /(^|\.)localhost$/.test(host);
}

/** The name under which one owner can have cookies for all subdomains: `app.example` of `a.b.app.example`. */
export function registrableDomain(hostname: string): string {
  return isIP(hostname.replace(/^\[|\]$/g, '')) ? hostname : hostname.split('.').slice(-2).join('.');
}
