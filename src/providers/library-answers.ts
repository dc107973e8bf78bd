// Answers to the protocol library's requests: sent through our door, tokens made regular and signatures checked before the
// library sees anything.
import type * as client from 'openid-client';
import type { ResolvedProvider } from '../options/resolve-provider.js';
import type { DpopNonces } from './dpop.js';
import { type DoorAnswer, requestProvider } from './http-door.js';
import {
  acceptedAlgorithms,
  assertAccessTokenHash,
  assertUserinfoParties,
  verifiedClaims,
} from './id-token-signature.js';
import type { KeySet } from './key-set.js';
import type { ProviderCall } from './provider-call.js';
import { parseJsonObject } from './strict-json.js';
import { copiedHeaders, headersBesideError, ParsedResponse, regularTokenResponse } from './token-response.js';

/** A request of the library, and the operation that it belongs to. */
export interface LibraryRequest {
  readonly url: string;
  readonly options: client.CustomFetchOptions;
  readonly call: ProviderCall;
}

/** What answers of a provider are judged by. */
export interface AnswerJudge {
  readonly definition: ResolvedProvider;
  readonly keySet: KeySet;
  readonly nonces: DpopNonces;
}

/**
 * Answers one request of the library.
 * @throws {ProviderError} when nothing usable comes back, or a signature does not hold
 */
export async function answerLibrary({ url, options, call }: LibraryRequest, judge: AnswerJudge): Promise<Response> {
  const { definition, nonces } = judge;
  call.asked = true;
  const answer = await requestProvider({
    url,
    method: options.method,
    headers: options.headers,
    body: options.body as URLSearchParams | null | undefined,
    timeout: definition.timeout,
    signal: call.context.signal,
    provider: definition.name,
    dispatcher: definition.dispatcher,
  });
  nonces.note(url, answer.headers);
  // By what was asked, not by where: the same address can be spelled in many ways.
  if (options.body instanceof URLSearchParams && options.body.has('grant_type'))
    return answerTokens(answer, call, judge);
  if (answer.contentType === 'application/jwt' && answer.status === 200) return answerUserinfo(answer, call, judge);
  // The library reads JSON whatever the content type says. What is no strict JSON object is no body at all.
  const json = jsonObject(answer);
  const body = answer.status < 300 && json === null ? null : answer.body;
  // Where a client authenticates itself, by a form, errors are named in the body (RFC 6749 §5.2), else by a challenge.
  const named = options.body instanceof URLSearchParams && typeof json?.error === 'string';
  return new Response(body && body.length > 0 ? new Uint8Array(body) : null, {
    status: answer.status,
    headers: named ? headersBesideError(answer.headers) : copiedHeaders(answer.headers),
  });
}

async function answerTokens(answer: DoorAnswer, call: ProviderCall, judge: AnswerJudge): Promise<Response> {
  const { name: provider, quirks = {}, kind } = judge.definition;
  const response = regularTokenResponse(answer, { provider, quirks, keepIdToken: kind === 'oidc' });
  if (response.status !== 200 || !(response instanceof ParsedResponse)) return response;
  const body = response.parsed;
  if (typeof body.access_token === 'string') {
    call.context.onIssued?.({
      accessToken: body.access_token,
      refreshToken: typeof body.refresh_token === 'string' ? body.refresh_token : null,
      idToken: typeof body.id_token === 'string' ? body.id_token : null,
    });
  }
  // The specification lets a client skip the signature here (OIDC Core §3.1.3.7, 6); we do not.
  if (typeof body.id_token === 'string') {
    const verified = await verify(body.id_token, call.metadata.id_token_signing_alg_values_supported, judge, call);
    assertAccessTokenHash(verified, body.access_token, provider);
    call.verified = body.id_token;
  }
  return response;
}

/** Signed userinfo, as the plain answer that it vouches for. */
async function answerUserinfo(answer: DoorAnswer, call: ProviderCall, judge: AnswerJudge): Promise<Response> {
  const advertised = call.metadata.userinfo_signing_alg_values_supported as readonly string[] | undefined;
  const { claims } = await verify(answer.body.toString('utf8').trim(), advertised, judge, call);
  assertUserinfoParties(claims, judge.definition);
  const headers = copiedHeaders(answer.headers);
  headers.set('content-type', 'application/json');
  return new Response(JSON.stringify(claims), { status: 200, headers });
}

function verify(
  jwt: string,
  advertised: readonly string[] | undefined,
  { definition, keySet }: AnswerJudge,
  { context: { signal } }: ProviderCall,
): ReturnType<typeof verifiedClaims> {
  const algorithms = acceptedAlgorithms(definition, advertised);
  // A refresh alone has a deadline of its caller's: that of its lease.
  return verifiedClaims(jwt, { definition, keySet, algorithms, origin: signal ? 'refresh' : 'answer', signal });
}

function jsonObject({ contentType, body }: DoorAnswer): Record<string, unknown> | null {
  if (contentType !== 'application/json') return null;
  try {
    return parseJsonObject(body.toString('utf8'));
  } catch {
    return null;
  }
}
