// Client authentication (RFC 6749 §2.3, RFC 7523, RFC 8705): exactly one method, with a record of what was used.
import { timingSafeEqual } from 'node:crypto';
import { createLocalJWKSet, jwtVerify, type JSONWebKeySet } from 'jose';
import { ProtocolError } from './answer.js';
import type { ClientAuthMethod, FakeClient } from './behaviour.js';
import type { ProviderCore } from './core.js';
import { decodeUnverified } from './jws.js';
import type { LoggedClientAuth, LoggedRequest } from './request-log.js';

const ASSERTION_TYPE = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer';
const ASYMMETRIC = [
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
  'EdDSA',
  'Ed25519',
];
const SYMMETRIC = ['HS256', 'HS384', 'HS512'];

/** What the connection itself says about the client. */
export interface PeerCertificate {
  /** Common name of a certificate that the configured authority signed. */
  commonName?: string | undefined;
}

/** Client assertions seen, so that each works once. */
export class AssertionLog {
  private readonly seen = new Set<string>();

  /** True the first time. */
  add(jti: string): boolean {
    if (this.seen.has(jti)) return false;
    if (this.seen.size >= 100_000) this.seen.clear();
    this.seen.add(jti);
    return true;
  }
}

interface Presented {
  method: ClientAuthMethod;
  clientId: string;
  secret: string;
}

/** Authenticates the client of a form request. @throws ProtocolError `invalid_client` or `invalid_request`. */
export async function authenticateClient(
  core: ProviderCore,
  request: LoggedRequest,
  assertions: AssertionLog,
  peer: PeerCertificate,
): Promise<FakeClient> {
  const found = presented(core, request, peer);
  const first = found[0];
  const log: LoggedClientAuth = { methods: found.map(({ method }) => method), accepted: false };
  request.clientAuth = log;
  if (request.query.has('client_secret') || request.query.has('client_assertion')) {
    throw new ProtocolError('invalid_request', 'client credentials in the URL');
  }
  if (!first || found.length > 1)
    throw new ProtocolError('invalid_request', 'exactly one client authentication is needed');
  const assertion = request.form.get('client_assertion');
  if (assertion !== null) log.assertion = decodeUnverified(assertion)?.claims ?? {};
  log.clientId = first.clientId;
  const client = core.clients.get(first.clientId);
  const allowed = client && (client.tokenEndpointAuthMethod ?? first.method) === first.method;
  if (!allowed || !(await holds(core, client, first, assertions))) {
    const challenge = first.method === 'client_secret_basic' ? { 'www-authenticate': 'Basic realm="fake"' } : undefined;
    throw new ProtocolError('invalid_client', `client authentication failed (${first.method})`, 401, challenge);
  }
  log.accepted = true;
  return client;
}

function presented(core: ProviderCore, request: LoggedRequest, peer: PeerCertificate): Presented[] {
  const { form, headers } = request;
  const found: Presented[] = [];
  const basic = /^basic (.*)$/i.exec(headers.authorization ?? '')?.[1];
  if (basic !== undefined) {
    const text = Buffer.from(basic, 'base64').toString();
    const colon = text.indexOf(':');
    const decode = core.behaviour.basicDecoding === 'form' ? formDecode : (part: string): string => part;
    found.push({
      method: 'client_secret_basic',
      clientId: decode(text.slice(0, colon)),
      secret: decode(text.slice(colon + 1)),
    });
  }
  const secret = form.get('client_secret');
  if (secret !== null) found.push({ method: 'client_secret_post', clientId: form.get('client_id') ?? '', secret });
  const assertion = form.get('client_assertion');
  if (assertion !== null) {
    const { header, claims } = decodeUnverified(assertion) ?? { header: {}, claims: {} };
    const method = String(header.alg).startsWith('HS') ? 'client_secret_jwt' : 'private_key_jwt';
    const typed = form.get('client_assertion_type') === ASSERTION_TYPE;
    found.push({ method, clientId: String(claims.sub), secret: typed ? assertion : '' });
  }
  if (found.length === 0 && form.has('client_id')) {
    const clientId = form.get('client_id') ?? '';
    const byCertificate =
      core.clients.get(clientId)?.tlsSubjectCommonName !== undefined && peer.commonName !== undefined;
    found.push({ method: byCertificate ? 'tls_client_auth' : 'none', clientId, secret: peer.commonName ?? '' });
  }
  return found;
}

async function holds(
  core: ProviderCore,
  client: FakeClient,
  given: Presented,
  assertions: AssertionLog,
): Promise<boolean> {
  switch (given.method) {
    case 'none':
      return (
        client.tokenEndpointAuthMethod === 'none' || (client.clientSecret === undefined && client.jwks === undefined)
      );
    case 'tls_client_auth':
      return client.tlsSubjectCommonName === given.secret;
    case 'client_secret_basic':
    case 'client_secret_post':
      return client.clientSecret !== undefined && sameText(client.clientSecret, given.secret);
    case 'client_secret_jwt':
    case 'private_key_jwt':
      return assertionHolds(core, client, given, assertions);
  }
}

async function assertionHolds(
  core: ProviderCore,
  client: FakeClient,
  given: Presented,
  assertions: AssertionLog,
): Promise<boolean> {
  const any = core.behaviour.assertionAudience === 'any';
  const audience = any
    ? [core.issuer, core.address('token'), core.address('par'), core.address('revoke')]
    : core.issuer;
  const demands = {
    issuer: client.clientId,
    subject: client.clientId,
    audience,
    requiredClaims: ['exp', 'jti'],
    clockTolerance: 10,
  };
  try {
    const { payload } =
      given.method === 'client_secret_jwt'
        ? await jwtVerify(given.secret, Buffer.from(client.clientSecret ?? ''), { ...demands, algorithms: SYMMETRIC })
        : await jwtVerify(given.secret, createLocalJWKSet(await clientKeys(client)), {
            ...demands,
            algorithms: ASYMMETRIC,
          });
    return (any || typeof payload.aud === 'string') && assertions.add(`${client.clientId} ${payload.jti}`);
  } catch {
    return false;
  }
}

/** The public keys a client registered. */
export async function clientKeys(client: FakeClient): Promise<JSONWebKeySet> {
  return typeof client.jwks === 'function' ? client.jwks() : (client.jwks ?? { keys: [] });
}

function formDecode(part: string): string {
  try {
    return decodeURIComponent(part.replace(/\+/g, ' '));
  } catch {
    return part;
  }
}

function sameText(expected: string, given: string): boolean {
  const [a, b] = [Buffer.from(expected), Buffer.from(given)];
  return a.length === b.length && timingSafeEqual(a, b);
}
