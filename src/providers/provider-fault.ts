// What went wrong while talking to a provider, told in our words. Nothing the provider sent travels along.
import type { OAuthErrorCode } from '../errors/error-codes.js';
import { OAuthError, type OAuthErrorEvidence } from '../errors/oauth-error.js';

/** What is known about a failed request, for those who must decide what to do next (refresh, breaker, outbox). */
export interface FaultEvidence extends OAuthErrorEvidence {
  /** Status of the provider's answer, if there was one. */
  httpStatus?: number;
  /** The standard error code in the answer (RFC 6749 §5.2), if it is one of printable ASCII. */
  oauthError?: string;
  /** True when the request may have been processed although no valid answer came: bytes were sent, then something broke. */
  ambiguous?: boolean;
  /** True when an ID token at refresh was made by or for somebody else (`iss`, `aud`). */
  identityChanged?: boolean;
}

/** A provider could not be reached, failed, or gave an answer that is refused. */
export class ProviderError extends OAuthError {
  /** Status of the provider's answer, if there was one. */
  readonly httpStatus: number | undefined;
  /** `error` member of the provider's answer, e.g. `invalid_grant`. */
  readonly oauthError: string | undefined;
  /** The request may have been processed all the same. */
  readonly ambiguous: boolean;
  /** The ID token names another issuer or audience than ours. */
  readonly identityChanged: boolean;
  /** `Retry-After` of the provider's answer, seconds; unlike `retryAfter` it has no default. */
  readonly askedToWait: number | undefined;

  constructor(code: OAuthErrorCode, evidence: FaultEvidence = {}) {
    super(code, evidence);
    this.httpStatus = evidence.httpStatus;
    this.oauthError = evidence.oauthError;
    this.ambiguous = evidence.ambiguous ?? false;
    this.identityChanged = evidence.identityChanged ?? false;
    this.askedToWait = evidence.retryAfter;
  }
}

/**
 * Any error of the protocol library as a {@link ProviderError}. The library's errors quote whole answers in `cause`
 * (tokens included), so only their own messages and codes are kept.
 * @param known.fallback code for answers that failed validation
 * @param known.asked false where nothing was sent yet: then nothing can have been processed
 */
export function asProviderError(
  error: unknown,
  provider: string,
  { fallback, asked }: { fallback: OAuthErrorCode; asked: boolean },
): OAuthError {
  for (let at: unknown = error, depth = 0; at && depth < 8; at = (at as { cause?: unknown }).cause, depth++) {
    if (at instanceof OAuthError) return at;
    const body = at as { name?: string; error?: unknown; status?: unknown };
    if (body.name === 'ResponseBodyError' && typeof body.error === 'string') {
      return fromErrorBody(body.error, Number(body.status), provider);
    }
  }
  const challenge = (error as { name?: string; status?: unknown } | null)?.name === 'WWWAuthenticateChallengeError';
  if (challenge) {
    return new ProviderError(fallback, {
      provider,
      httpStatus: Number((error as { status: number }).status),
      cause: outline(error),
    });
  }
  const claim = failedClaim(error);
  const httpStatus = refusedStatus(error);
  // The person authenticated too long ago: no fault of the provider.
  return new ProviderError(claim === 'auth_time' ? 'insufficient_authentication' : fallback, {
    provider,
    cause: outline(error),
    // A refusal without a standard body is still an answer; an unreadable success may have been one.
    ambiguous: asked && httpStatus === undefined,
    identityChanged: claim === 'iss' || claim === 'aud',
    ...(httpStatus === undefined ? {} : { httpStatus }),
  });
}

/** The library puts an answer that it cannot read into the cause: its status, if that is a 4xx. */
function refusedStatus(error: unknown): number | undefined {
  for (let at: unknown = error, depth = 0; at instanceof Error && depth < 6; at = at.cause, depth++)
    if (at.cause instanceof Response && at.cause.status >= 400 && at.cause.status < 500) return at.cause.status;
  return undefined;
}

/** The library tells in the cause of a failed comparison which claim it was. */
function failedClaim(error: unknown): string | undefined {
  for (
    let at: unknown = error, depth = 0;
    typeof at === 'object' && at !== null && depth < 6;
    at = (at as { cause?: unknown }).cause, depth++
  ) {
    const { claim } = at as { claim?: unknown };
    if (typeof claim === 'string') return claim;
  }
  return undefined;
}

function fromErrorBody(error: string, httpStatus: number, provider: string): ProviderError {
  const oauthError = /^[\x21\x23-\x5b\x5d-\x7e]{1,64}$/.test(error) ? error : 'unprintable';
  const evidence = {
    provider,
    httpStatus,
    oauthError,
    cause: new Error(`the provider answered ${httpStatus} ${oauthError}`),
  };
  if (oauthError === 'invalid_client' || oauthError === 'unauthorized_client')
    return new ProviderError('client_rejected', evidence);
  if (oauthError === 'temporarily_unavailable') return new ProviderError('provider_unavailable', evidence);
  return new ProviderError('provider_error', evidence);
}

/** Messages and codes of an error and its causes, without any of their data. */
export function outline(error: unknown): Error {
  const parts: string[] = [];
  for (let at: unknown = error, depth = 0; at instanceof Error && depth < 4; at = at.cause, depth++) {
    const { code } = at as { code?: unknown };
    parts.push(typeof code === 'string' ? `${at.message} (${code})` : at.message);
  }
  return new Error(parts.join(': ') || 'unknown error');
}
