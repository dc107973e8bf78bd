// Every request a FakeProvider received, as it came in, with what became of it.
import type { IncomingHttpHeaders } from 'node:http';
import type { ClientAuthMethod, JsonObject } from './behaviour.js';

/** The parts of a FakeProvider. `code` and `refresh` are the token endpoint, by grant type; `trap` is never linked to honestly. */
export type Endpoint =
  | 'discovery'
  | 'jwks'
  | 'authorize'
  | 'token'
  | 'code'
  | 'refresh'
  | 'userinfo'
  | 'revocation'
  | 'par'
  | 'endSession'
  | 'api'
  | 'trap'
  | 'other';

/** How the client authenticated itself, whether or not it succeeded. */
export interface LoggedClientAuth {
  clientId?: string;
  /** All methods found in one request; more than one is an error of the client. */
  methods: ClientAuthMethod[];
  /** Payload of the client assertion, unverified. */
  assertion?: JsonObject;
  /** True once the credentials were found right. */
  accepted: boolean;
}

/** A DPoP proof as it was received. */
export interface LoggedDpop {
  header: JsonObject;
  claims: JsonObject;
  /** Thumbprint of its key; only for a proof that was found right. */
  jkt?: string;
  /** What was wrong with it. */
  problem?: string;
}

/** One request. */
export interface LoggedRequest {
  endpoint: Endpoint;
  method: string;
  /** Path without the query, as received. */
  path: string;
  /** Request target exactly as received. */
  rawUrl: string;
  query: URLSearchParams;
  headers: IncomingHttpHeaders;
  /** Names and values in turn, which shows repeated headers. */
  rawHeaders: string[];
  /** The whole body as text. */
  body: string;
  /** The body's fields, if it was `application/x-www-form-urlencoded`; otherwise empty. */
  form: URLSearchParams;
  /** Milliseconds since the epoch. */
  at: number;
  /** Number of the connection, and of the request on it (1 for the first): tells reused connections. */
  connection: number;
  requestOnConnection: number;
  clientAuth?: LoggedClientAuth;
  dpop?: LoggedDpop;
  /** Kind of the fault that answered instead. */
  fault?: string;
  /** Status answered, once it was. */
  status?: number;
  /** When the caller hung up before it had the whole answer, in milliseconds since the epoch. */
  abortedAt?: number;
}

/** Whether a request counts for an endpoint name; `token` covers `code` and `refresh`. */
export function isFor(request: LoggedRequest, endpoint: Endpoint): boolean {
  return (
    request.endpoint === endpoint ||
    (endpoint === 'token' && (request.endpoint === 'code' || request.endpoint === 'refresh'))
  );
}

/** Whether a text occurs anywhere in a request: address, headers or body, as sent or percent-decoded. */
export function mentions(request: LoggedRequest, text: string): boolean {
  const parts = [request.rawUrl, request.body, ...request.rawHeaders];
  if (parts.some((part) => part.includes(text))) return true;
  return [...request.query.values(), ...request.form.values()].some((value) => value.includes(text));
}
