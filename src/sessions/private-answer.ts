// Answers of guarded handlers name a user: no cache may keep them for another one, unless the application says otherwise.
// Every guarded request passes here, so nothing is built and nothing is read twice.
import { Stream } from 'node:stream';

/** What the platforms' responses have in common: `setHeader` is Node's, `header` is Fastify's. */
interface NativeResponse {
  readonly headersSent?: boolean;
  readonly raw?: unknown;
  getHeader(name: string): HeaderValue;
  setHeader?(name: string, value: string): unknown;
  header?(name: string, value: string): unknown;
}

type HeaderValue = string | number | readonly string[] | undefined;

/**
 * Says `Cache-Control: no-store` unless somebody did already, and adds `Cookie` to `Vary`. A handler that sets
 * `Cache-Control` itself comes later, and wins.
 * @param native the platform's response; anything else is left alone
 * @see RFC 9111 §5.2.2.5
 */
export function keepPrivate(native: unknown): void {
  if (typeof native !== 'object' || native === null) return;
  const response = native as NativeResponse;
  // Of Node's own nobody asks what it does not have: on Express, where each has a shape of its own, that is not cheap.
  if (!(native instanceof Stream) && response.raw !== undefined && typeof response.header === 'function') {
    // Middleware on Fastify sees the raw response: the reply knows that too, and what it says itself wins.
    if (response.getHeader('cache-control') === undefined) response.header('cache-control', 'no-store');
    const vary = varyBeside(response.getHeader('vary'));
    if (vary !== undefined) response.header('vary', vary);
  } else if (typeof response.setHeader === 'function' && response.headersSent === false) {
    if (response.getHeader('cache-control') === undefined) response.setHeader('Cache-Control', 'no-store');
    const vary = varyBeside(response.getHeader('vary'));
    if (vary !== undefined) response.setHeader('Vary', vary);
  }
}

/** The value of `Vary` that `Cookie` is part of; undefined when it is already. */
function varyBeside(before: HeaderValue): string | undefined {
  if (before === undefined || before === '') return 'Cookie';
  const fields = String(before);
  return /(?:^|[\s,])(?:cookie|\*)(?:[\s,]|$)/i.test(fields) ? undefined : `${fields}, Cookie`;
}
