// Token endpoint answers, made regular before the protocol library judges them: known quirks are translated,
// everything odd is refused, and no odd number ever reaches SQL.
import type { ProviderQuirks } from '../options/provider-options.js';
import type { DoorAnswer } from './http-door.js';
import { ProviderError } from './provider-fault.js';
import { parseJsonObject } from './strict-json.js';

/** The member under which the checked lifetime travels; the library knows nothing of it. */
export const LIFETIME = 'urn:nest-oauth-client:lifetime';

/** An answer whose JSON is parsed already; the library asks for it by `json()`. */
export class ParsedResponse extends Response {
  constructor(
    readonly parsed: Readonly<Record<string, unknown>>,
    init: ResponseInit,
  ) {
    super(null, init);
  }

  /** The parsed body; may be asked for more than once. */
  override readonly json = (): Promise<Record<string, unknown>> => Promise.resolve({ ...this.parsed });
}

/** Longest believed lifetime: ten years, in seconds. */
const MAX_LIFETIME = 315_360_000;

/** More scopes than this are nobody's. Postgres compares those of two grants each with each: 5,000 took it seconds. */
const MAX_SCOPES = 1_000;

/**
 * The answer as the protocol library expects it.
 * @throws {ProviderError} `invalid_token_response`
 */
export function regularTokenResponse(
  answer: DoorAnswer,
  options: { provider: string; quirks: ProviderQuirks; keepIdToken: boolean },
): Response | ParsedResponse {
  const { provider, quirks } = options;
  const form = answer.contentType === 'application/x-www-form-urlencoded' && quirks.formEncodedTokens === true;
  if (!form && answer.contentType !== 'application/json') {
    // The library would read JSON under any content type.
    if (answer.status === 200) throw refused(provider, `the content type is not application/json`);
    return plain(answer);
  }
  const body = form ? fromForm(answer.body) : fromJson(answer, provider);
  if (typeof body.error === 'string') {
    // RFC 6749 §5.2 wants 400 or 401; some servers say 200, and an error is an error whatever its status.
    const error = quirks.errorNames?.get(body.error) ?? body.error;
    // The library clones an error before it reads it.
    return new Response(JSON.stringify({ error }), {
      status: answer.status === 401 ? 401 : 400,
      headers: jsonHeaders(answer.headers),
    });
  }
  if (answer.status !== 200) return plain(answer);
  for (const key of ['refresh_token', 'id_token', 'scope', 'expires_in'] as const) {
    if (body[key] === null || (key !== 'scope' && body[key] === '')) delete body[key];
  }
  for (const key of ['access_token', 'refresh_token'] as const) {
    // VSCHAR of RFC 6749 appendix A.12 and A.17: anything else could break a header.
    if (body[key] !== undefined && !(typeof body[key] === 'string' && /^[\x20-\x7e]+$/.test(body[key]))) {
      throw refused(provider, `"${key}" is not printable text`);
    }
  }
  if (
    body.scope !== undefined &&
    !(typeof body.scope === 'string' && /^[^\u0000-\u001f\u007f\ud800-\udfff]*$/u.test(body.scope))
  )
    throw refused(provider, '"scope" is not text');
  if (typeof body.scope === 'string' && quirks.scopeSeparator)
    body.scope = body.scope.split(quirks.scopeSeparator).join(' ');
  if (typeof body.scope === 'string' && scopeList(body.scope)!.length > MAX_SCOPES)
    throw refused(provider, `"scope" names more than ${MAX_SCOPES}`);
  if (!options.keepIdToken) delete body.id_token;
  const lifetime = regularLifetime(body.expires_in);
  // 0 is not positive for the library, yet it means something: the token is already expired. It travels beside.
  delete body.expires_in;
  if (lifetime !== null) body[LIFETIME] = lifetime;
  return new ParsedResponse(body, { status: 200, headers: headersOfTokens(answer.headers) });
}

/**
 * `expires_in` as whole seconds: numbers and numeric strings; unknown (null) for everything else; at least 0.
 * @see RFC 6749 §5.1
 */
export function regularLifetime(value: unknown): number | null {
  const seconds = typeof value === 'string' && /^-?\d{1,18}$/.test(value) ? Number(value) : value;
  if (typeof seconds !== 'number' || !Number.isFinite(seconds)) return null;
  return Math.min(Math.max(Math.floor(seconds), 0), MAX_LIFETIME);
}

/** `scope` of an answer as a list; undefined when the answer has none (then it is as requested, RFC 6749 §5.1). */
export function scopeList(scope: string | undefined): string[] | undefined {
  return scope === undefined ? undefined : [...new Set(scope.split(' ').filter((item) => item !== ''))];
}

function fromJson(answer: DoorAnswer, provider: string): Record<string, unknown> {
  try {
    return parseJsonObject(answer.body.toString('utf8'));
  } catch (error) {
    throw refused(
      provider,
      error instanceof SyntaxError ? 'the body is not one JSON object with unique keys' : 'unreadable body',
      answer.status,
    );
  }
}

function fromForm(body: Buffer): Record<string, unknown> {
  return Object.fromEntries(new URLSearchParams(body.toString('utf8')));
}

function plain(answer: DoorAnswer): Response {
  return new Response(answer.body.length > 0 ? new Uint8Array(answer.body) : null, {
    status: answer.status,
    headers: copiedHeaders(answer.headers),
  });
}

/** Of tokens, the library asks for the content type and a nonce; copying all headers would cost more than the whole answer. */
function headersOfTokens(given: Headers): Record<string, string> {
  const nonce = given.get('dpop-nonce');
  return { 'content-type': 'application/json', ...(nonce === null ? {} : { 'dpop-nonce': nonce }) };
}

/** Keeps the other headers: `DPoP-Nonce` matters to the library. */
function jsonHeaders(given: Headers): Headers {
  const headers = headersBesideError(given);
  headers.set('content-type', 'application/json');
  return headers;
}

/** As {@link copiedHeaders}, beside a body that names its error: seeing a challenge, the library would not read that. */
export function headersBesideError(given: Headers): Headers {
  const headers = copiedHeaders(given);
  headers.delete('www-authenticate');
  return headers;
}

/** Headers of a body that is already decoded. */
export function copiedHeaders(headers: Headers): Headers {
  const copy = new Headers(headers);
  for (const name of ['content-encoding', 'content-length', 'transfer-encoding']) copy.delete(name);
  return copy;
}

function refused(provider: string, reason: string, httpStatus = 200): ProviderError {
  return new ProviderError('invalid_token_response', {
    provider,
    httpStatus,
    ambiguous: httpStatus === 200,
    cause: new Error(`token response: ${reason}`),
  });
}
