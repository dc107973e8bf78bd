// What counts as a safe URL: https anywhere, http on loopback only (RFC 8252 §7.3), no user info, no fragment.
import { isIP } from 'node:net';

/** Longest `returnTo` that is believed, characters. */
export const MAX_RETURN_TO_LENGTH = 2_048;

/** True for `localhost`, `127.0.0.1` and `[::1]` as a WHATWG URL spells its host name. */
export function isLoopback(hostname: string): boolean {
  return hostname === 'localhost' || hostname === '127.0.0.1' || hostname === '[::1]' || hostname === '::1';
}

/** True for literal addresses of private, link-local and otherwise unroutable networks. Host names are not resolved. */
export function isPrivateAddress(hostname: string): boolean {
  const host = hostname.replace(/^\[|\]$/g, '');
  if (isIP(host) === 4)
    return /^(0|10|127|169\.254|192\.168|172\.(1[6-9]|2\d|3[01])|100\.(6[4-9]|[7-9]\d|1[01]\d|12[0-7]))\./.test(host);
  if (isIP(host) === 6) return /^(::1?$|::ffff:|f[cd]|fe[89ab])/i.test(host);
  return hostname === 'localhost' || hostname.endsWith('.localhost') || hostname.endsWith('.internal');
}

/**
 * Says what is wrong with an absolute URL that secrets are to be sent to, or undefined when nothing is.
 * @returns text that continues "must be …"
 */
export function urlFault(value: unknown): string | undefined {
  if (typeof value !== 'string' || value === '') return 'an absolute URL';
  let url: URL;
  try {
    url = new URL(value);
  } catch {
    return 'an absolute URL such as https://login.example.com/path';
  }
  if (url.protocol !== 'https:' && !(url.protocol === 'http:' && isLoopback(url.hostname)))
    return 'an https URL (http is allowed on localhost only)';
  if (url.username || url.password) return 'a URL without user name and password';
  if (url.hash || value.includes('#')) return 'a URL without fragment (#)';
  if (/[*\s\\]/.test(value)) return 'a URL without wildcard, space or backslash';
  return undefined;
}

/** Says what is wrong with an origin (`https://host[:port]` and nothing more), or undefined. */
export function originFault(value: unknown): string | undefined {
  const fault = urlFault(value);
  if (fault) return fault;
  return new URL(value as string).origin === value
    ? undefined
    : `an origin without path, e.g. ${new URL(value as string).origin}`;
}
