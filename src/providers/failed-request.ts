// Requests to a provider that got no usable answer: what is known about why, and whether anything was sent.
import { ProviderError } from './provider-fault.js';

/** Failures that happen before any byte of the request is sent: trying again is harmless. */
const NOT_SENT = new Set([
  'ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH', 'UND_ERR_CONNECT_TIMEOUT',
  'ERR_TLS_CERT_ALTNAME_INVALID', 'CERT_HAS_EXPIRED', 'DEPTH_ZERO_SELF_SIGNED_CERT', 'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE', 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
]); // prettier-ignore

/** An answer that tells of a failure by its status: 5xx, 429. */
export function failedStatus(
  { status, headers }: { status: number; headers: Headers },
  provider: string,
): ProviderError {
  const retryAfter = parseRetryAfter(headers.get('retry-after'));
  return new ProviderError(status === 429 || status === 503 ? 'provider_unavailable' : 'provider_error', {
    provider,
    httpStatus: status,
    // A 5xx may come from a gateway behind which the request went through; a 429 was not processed.
    ambiguous: status >= 500,
    cause: new Error(`the provider answered with status ${status}`),
    ...(retryAfter === undefined ? {} : { retryAfter }),
  });
}

/** `Retry-After` in seconds (RFC 9110 §10.2.3), at most an hour. */
export function parseRetryAfter(value: string | null, now = Date.now()): number | undefined {
  if (value === null) return undefined;
  const seconds = /^\d{1,9}$/.test(value.trim()) ? Number(value) : Math.ceil((Date.parse(value) - now) / 1000);
  return Number.isFinite(seconds) ? Math.min(Math.max(seconds, 0), 3600) : undefined;
}

/** A request or answer that broke off. @param how.answered whether the head of an answer had come */
export function brokenOff(
  error: unknown,
  { provider, answered, timedOut }: { provider: string; answered: boolean; timedOut: boolean },
): ProviderError {
  const codes: string[] = [];
  // By shape, not by class: errors of fetch may come from another realm than this module.
  const visit = (at: unknown, depth: number): void => {
    if (typeof at !== 'object' || at === null || depth > 4) return;
    const { code, errors, cause } = at as { code?: unknown; errors?: unknown; cause?: unknown };
    if (typeof code === 'string') codes.push(code);
    if (Array.isArray(errors)) errors.forEach((inner) => visit(inner, depth + 1));
    visit(cause, depth + 1);
  };
  visit(error, 0);
  const notSent = !answered && !timedOut && codes.length > 0 && codes.every((code) => NOT_SENT.has(code));
  const reason = timedOut
    ? 'no complete answer before the deadline'
    : (codes[0] ?? (error instanceof Error ? error.message : 'the connection broke'));
  return new ProviderError('provider_unavailable', {
    provider,
    ambiguous: !notSent,
    cause: new Error(`request to the provider failed: ${reason}`),
  });
}
