// Where the parameters of an authorization request come from: the query, a pushed request (RFC 9126) or a signed
// request object (RFC 9101).
import { createLocalJWKSet, jwtVerify } from 'jose';
import { ProtocolError } from './answer.js';
import type { FakeClient } from './behaviour.js';
import { clientKeys } from './client-auth.js';
import type { ProviderCore } from './core.js';
import { newSecret } from './token-store.js';

const URN = 'urn:ietf:params:oauth:request_uri:';

interface Pushed {
  params: URLSearchParams;
  clientId: string;
  jkt: string | undefined;
  expiresAt: number;
}

/** Parameters of an authorization request, and the DPoP key it was pushed with. */
export interface RequestedParams {
  params: URLSearchParams;
  jkt?: string | undefined;
}

/** Pushed requests, each good for one use. */
export class PushedRequests {
  private readonly pushed = new Map<string, Pushed>();

  /** Keeps a request and returns its `request_uri`. */
  add(params: URLSearchParams, clientId: string, lifetime: number, jkt: string | undefined): string {
    const uri = URN + newSecret('par');
    this.pushed.set(uri, { params, clientId, jkt, expiresAt: Date.now() + lifetime * 1000 });
    return uri;
  }

  /** Gives a request out, once. @throws ProtocolError `invalid_request_uri`. */
  take(uri: string, clientId: string): Pushed {
    const found = this.pushed.get(uri);
    this.pushed.delete(uri);
    if (!found || found.clientId !== clientId || found.expiresAt < Date.now()) {
      throw new ProtocolError('invalid_request_uri', 'unknown, used, expired or another client’s request_uri');
    }
    return found;
  }
}

/** Finds the parameters that count. @throws ProtocolError where a request may not come this way. */
export async function requestedParams(
  core: ProviderCore,
  pushedRequests: PushedRequests,
  client: FakeClient,
  params: URLSearchParams,
): Promise<RequestedParams> {
  const uri = params.get('request_uri');
  if (uri !== null) {
    const { params: pushed, jkt } = pushedRequests.take(uri, client.clientId);
    return { params: pushed, jkt };
  }
  if (core.behaviour.requirePar) throw new ProtocolError('invalid_request', 'authorization requests must be pushed');
  return { params: await openRequestObject(core, client, params) };
}

/** The parameters inside the request object, or the parameters themselves if there is none. @throws ProtocolError. */
export async function openRequestObject(
  core: ProviderCore,
  client: FakeClient,
  params: URLSearchParams,
): Promise<URLSearchParams> {
  const request = params.get('request');
  if (request === null) {
    if (!core.behaviour.requireSignedRequestObject) return params;
    throw new ProtocolError('invalid_request', 'a signed request object is needed');
  }
  try {
    const keys = createLocalJWKSet(await clientKeys(client));
    const { payload } = await jwtVerify(request, keys, { issuer: client.clientId, audience: core.issuer });
    const { iss: _iss, aud: _aud, exp: _exp, nbf: _nbf, iat: _iat, jti: _jti, ...claims } = payload;
    if (claims.client_id !== client.clientId) throw new Error('client_id differs');
    return new URLSearchParams(Object.entries(claims).flatMap(([name, value]) => fields(name, value)));
  } catch (error) {
    throw new ProtocolError('invalid_request_object', String(error));
  }
}

function fields(name: string, value: unknown): [string, string][] {
  if (name === 'resource' && Array.isArray(value)) return value.map((item) => [name, String(item)]);
  return [[name, typeof value === 'string' ? value : JSON.stringify(value)]];
}
