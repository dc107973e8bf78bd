// From an execution context to the request that carries the cookie: HTTP, GraphQL, WebSocket; nothing else.
import type { ExecutionContext } from '@nestjs/common';
import { WebRequest } from './web-request.js';

/** What graphql-ws keeps of a connection. */
interface Upgraded {
  request?: unknown;
}

/** The request or handshake behind a context, or null for a context without one (microservices, unknown kinds). */
export function requestOf(context: ExecutionContext): WebRequest | null {
  const kind: string = context.getType();
  // By index: `switchToHttp` makes three functions and puts them on the context, each time.
  if (kind === 'http') return firstOf(context.getArgByIndex<unknown>(0));
  if (kind === 'ws') return handshakeOf(context.switchToWs().getClient<object>());
  if (kind !== 'graphql') return null;
  const scope = scopeOf<{ req?: { extra?: Upgraded }; request?: unknown; extra?: Upgraded }>(context);
  // Over a socket, Nest's own context has what graphql-ws knows of the connection as `req`.
  return firstOf(scope?.req, scope?.request, scope?.extra?.request, scope?.req?.extra?.request);
}

/** The context of a GraphQL operation. What resolves references of a federation is called without arguments of a field before it. */
function scopeOf<Scope>(context: ExecutionContext): Scope | undefined {
  const values = context.getArgs<unknown[]>();
  return values[values.length === 3 ? 1 : 2] as Scope | undefined;
}

/** The first that is a request. */
function firstOf(...candidates: unknown[]): WebRequest | null {
  for (const candidate of candidates) if (WebRequest.is(candidate)) return new WebRequest(candidate);
  return null;
}

/** The platform's response behind a context; undefined where there is none, or the GraphQL context does not carry it. */
export function responseOf(context: ExecutionContext): unknown {
  const kind: string = context.getType();
  if (kind === 'http') return context.getArgByIndex<unknown>(1);
  if (kind !== 'graphql') return undefined;
  const scope = scopeOf<{ req?: { res?: unknown }; res?: unknown; reply?: unknown }>(context);
  // Nest gives resolvers the request alone unless told otherwise; Express keeps the response there.
  return scope?.res ?? scope?.reply ?? scope?.req?.res;
}

const handshakes = new WeakMap<object, object>();

/** Remembers the handshake of a socket that does not carry it (ws). Anything that is no request is ignored. */
export function rememberHandshake(client: object, request: unknown): void {
  if (WebRequest.is(request)) handshakes.set(client, request);
}

/** The handshake of a socket, or null. */
export function handshakeOf(client: object | null | undefined): WebRequest | null {
  if (typeof client !== 'object' || client === null) return null;
  const { request, handshake, upgradeReq } = client as Partial<Record<'request' | 'handshake' | 'upgradeReq', unknown>>;
  return firstOf(handshakes.get(client), request, handshake, upgradeReq);
}
