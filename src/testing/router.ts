// Says which endpoint a request is for, and lets that endpoint answer.
import { html, ProtocolError, type Answer } from './answer.js';
import { authorizeEndpoint } from './authorize-endpoint.js';
import { AssertionLog, authenticateClient, type PeerCertificate } from './client-auth.js';
import type { ProviderCore } from './core.js';
import { discoveryEndpoint, jwksEndpoint } from './discovery.js';
import { DpopGate } from './dpop.js';
import { endSessionEndpoint } from './end-session-endpoint.js';
import { parEndpoint } from './par-endpoint.js';
import { apiEndpoint, userinfoEndpoint } from './protected-resources.js';
import { PushedRequests } from './request-object.js';
import type { Endpoint, LoggedRequest } from './request-log.js';
import { revocationEndpoint } from './revocation-endpoint.js';
import { tokenEndpoint } from './token-endpoint.js';

const METHODS: Partial<Record<Endpoint, string[]>> = {
  discovery: ['GET', 'HEAD'],
  jwks: ['GET', 'HEAD'],
  authorize: ['GET', 'POST'],
  code: ['POST'],
  refresh: ['POST'],
  token: ['POST'],
  revocation: ['POST'],
  par: ['POST'],
  userinfo: ['GET', 'POST'],
  endSession: ['GET', 'POST'],
};

/** The endpoints of one provider. */
export class Router {
  private readonly pushed = new PushedRequests();
  private readonly assertions = new AssertionLog();
  private readonly dpop: DpopGate;
  private readonly apiDpop: DpopGate;
  private readonly paths: Map<string, Endpoint>;

  constructor(private readonly core: ProviderCore) {
    this.dpop = new DpopGate(() => core.behaviour.dpopNonce);
    this.apiDpop = new DpopGate(() => core.behaviour.apiDpopNonce);
    const base = core.issuerPath;
    this.paths = new Map<string, Endpoint>([
      [`${base}/.well-known/openid-configuration`, 'discovery'],
      [`/.well-known/oauth-authorization-server${base}`, 'discovery'],
      [`${base}/authorize`, 'authorize'],
      [`${base}/token`, 'token'],
      [`${base}/userinfo`, 'userinfo'],
      [`${base}/revoke`, 'revocation'],
      [`${base}/par`, 'par'],
      [`${base}/end_session`, 'endSession'],
      [`${base}/jwks`, 'jwks'],
    ]);
  }

  /** The endpoint of a request target. */
  endpointOf(rawUrl: string): Endpoint {
    const path = rawUrl.split('?', 1)[0] ?? '/';
    const known = this.paths.get(path);
    if (known) return known;
    if (path === '/api' || path.startsWith('/api/')) return 'api';
    return path === '/trap' || path.startsWith('/trap/') ? 'trap' : 'other';
  }

  /** The honest answer. @throws ProtocolError. */
  async answer(request: LoggedRequest, url: string, peer: PeerCertificate): Promise<Answer> {
    const { core } = this;
    const allowed = METHODS[request.endpoint];
    if (allowed && !allowed.includes(request.method)) throw new ProtocolError('invalid_request', 'wrong method', 405);
    switch (request.endpoint) {
      case 'discovery':
        if (!core.behaviour.oidc && request.path.endsWith('openid-configuration'))
          return html('<h1>Not found</h1>', 404);
        return discoveryEndpoint(core, request);
      case 'jwks':
        return jwksEndpoint(core, request);
      case 'authorize':
        return authorizeEndpoint(core, this.pushed, request);
      case 'token':
      case 'code':
      case 'refresh':
      case 'par':
      case 'revocation':
        return this.forClients(request, url, peer);
      case 'userinfo':
        return userinfoEndpoint(core, { request, url, dpop: this.dpop });
      case 'api':
        return apiEndpoint(core, { request, url, dpop: this.apiDpop });
      case 'endSession':
        return endSessionEndpoint(core, request);
      case 'trap':
        return html('<h1>Nobody should be here</h1>');
      case 'other':
        return html('<h1>Not found</h1>', 404);
    }
  }

  /** The authorization endpoint's answer when it is told to refuse. */
  refuseAuthorization(request: LoggedRequest, error: ProtocolError): Promise<Answer> {
    return authorizeEndpoint(this.core, this.pushed, request, error);
  }

  private async forClients(request: LoggedRequest, url: string, peer: PeerCertificate): Promise<Answer> {
    const { tokenErrorStatus } = this.core.behaviour;
    const isToken = request.endpoint !== 'par' && request.endpoint !== 'revocation';
    try {
      return await this.clientAnswer(request, url, peer);
    } catch (error) {
      if (!(error instanceof ProtocolError) || !isToken || tokenErrorStatus === undefined) throw error;
      throw new ProtocolError(error.error, error.description, tokenErrorStatus, error.headers);
    }
  }

  private async clientAnswer(request: LoggedRequest, url: string, peer: PeerCertificate): Promise<Answer> {
    const { core } = this;
    const client = await authenticateClient(core, request, this.assertions, peer);
    if (request.endpoint === 'revocation') return revocationEndpoint(core, request, client);
    const jkt = await this.dpop.check(request, url, core.now());
    const answer =
      request.endpoint === 'par'
        ? await parEndpoint(core, this.pushed, request, client, jkt)
        : await tokenEndpoint(core, request, client, jkt);
    return jkt === undefined ? answer : { ...answer, headers: { ...answer.headers, ...this.dpop.nonceHeader() } };
  }
}
