// Calls to a provider's API with an access token. The token goes only to origins that are declared, and never along
// with a redirect to another one.
import { OAuthError } from '../errors/oauth-error.js';
import { ClientTls } from '../options/client-tls.js';
import type { ProfileContext } from '../options/provider-options.js';
import { apiProof, wantsNonce } from './dpop.js';
import { streamFromApi } from './http-door.js';
import type { ProviderConnection } from './provider-connection.js';
import { ProviderError } from './provider-fault.js';
import type { TokenSet } from './token-set.js';

const MAX_REDIRECTS = 5;
const MAX_PROFILE_BYTES = 1024 * 1024;

/** An access token to send. */
export interface SentToken {
  readonly value: string;
  readonly type: 'Bearer' | 'DPoP';
  /** The key that a `DPoP` token is bound to. */
  readonly dpopKey?: string | undefined;
}

/** An API's answer, and whether it says that the token that was sent is no good. */
export interface ApiAnswer {
  readonly response: Response;
  /** A 401 of a server that got the token. A foreign one's, and the wish for another DPoP nonce, say nothing about it. */
  readonly tokenRejected: boolean;
}

/** The API side of one provider. */
export class ProviderApi {
  constructor(private readonly connection: ProviderConnection) {}

  /**
   * Origins that may receive this provider's access tokens: declared ones, else the userinfo endpoint's, else the token
   * endpoint's, which made them.
   */
  async origins(): Promise<readonly string[]> {
    const { apiOrigins, userinfoEndpoint } = this.connection.definition;
    if (apiOrigins.length > 0) return apiOrigins;
    const { metadata } = await this.connection.load();
    const endpoint = userinfoEndpoint ?? metadata.userinfo_endpoint ?? metadata.token_endpoint;
    return endpoint === undefined ? [] : [new URL(endpoint).origin];
  }

  /**
   * Checks that a URL may receive a token.
   * @throws {OAuthError} `origin_not_allowed` for anything but an absolute URL of a declared origin
   */
  async allowed(given: string | URL): Promise<URL> {
    const provider = this.connection.definition.name;
    const text = String(given);
    const origins = await this.origins();
    const url = /^https?:\/\/[^\\@\s]+$/i.test(text) && URL.canParse(text) ? new URL(text) : null;
    if (url && !url.username && !url.password && origins.includes(url.origin)) return url;
    throw new OAuthError('origin_not_allowed', {
      provider,
      message: `tokens.fetch() may not send a token of "${provider}" to ${url ? url.origin : 'a relative or malformed URL'}; declared apiOrigins: ${origins.join(', ') || 'none'}`,
    });
  }

  /**
   * Sends one API request with the token. Redirects within the declared origin are followed with it, others without,
   * and once it was dropped it stays so: another server's redirect must not say where our token goes.
   * @throws {OAuthError} `origin_not_allowed`, `provider_unavailable`
   */
  async fetch(token: SentToken, given: string | URL, init: RequestInit = {}): Promise<Response> {
    return (await this.ask(token, given, init)).response;
  }

  /** As {@link fetch}, and judges a 401. */
  async ask(token: SentToken, given: string | URL, init: RequestInit = {}): Promise<ApiAnswer> {
    let url = await this.allowed(given);
    const { origin } = url;
    const headers = new Headers(init.headers);
    // Credentials of the application's own making never travel beside ours, and whom we ask is the URL's affair.
    for (const name of ['authorization', 'cookie', 'dpop', 'host']) headers.delete(name);
    if (!headers.has('user-agent')) headers.set('user-agent', 'nest-oauth-client');
    let request: RequestInit = { ...init };
    let sent: SentToken | null = token;
    for (let hop = 0; ; hop++) {
      if (url.origin !== origin) sent = null;
      const response = await this.#send(sent, url, { ...request, headers });
      const location = response.headers.get('location');
      const wantsAnotherNonce = sent?.dpopKey !== undefined && wantsNonce(response);
      const answer = { response, tokenRejected: response.status === 401 && sent !== null && !wantsAnotherNonce };
      if (init.redirect === 'manual' || ![301, 302, 303, 307, 308].includes(response.status) || location === null)
        return answer;
      if (init.redirect === 'error' || hop === MAX_REDIRECTS || !URL.canParse(location, url.href)) return answer;
      if ([307, 308].includes(response.status) && !isReplayable(request.body)) return answer;
      await response.body?.cancel().catch(() => undefined);
      url = new URL(location, url);
      if (
        response.status === 303 ||
        ([301, 302].includes(response.status) && request.method?.toUpperCase() === 'POST')
      ) {
        const { body: _dropped, ...rest } = request;
        request = { ...rest, method: 'GET' };
        headers.delete('content-type');
        headers.delete('content-length');
      }
    }
  }

  /**
   * One request, with the token in its header; who gets none is not shown our certificate either. A server that wants
   * its latest DPoP nonce is asked once more.
   */
  async #send(token: SentToken | null, url: URL, request: RequestInit & { headers: Headers }): Promise<Response> {
    const { definition, nonces } = this.connection;
    const { name: provider, dispatcher: own } = definition;
    const dispatcher = token === null && own instanceof ClientTls ? own.withoutCertificate : own;
    for (let attempt = 1; ; attempt++) {
      const headers = new Headers(request.headers);
      if (token) {
        headers.set('authorization', `${token.type} ${token.value}`);
        if (token.dpopKey !== undefined) {
          const method = new Request(url, { method: request.method ?? 'GET' }).method;
          const proven = { method, url, accessToken: token.value, nonce: nonces.at(url) };
          headers.set('dpop', await apiProof(token.dpopKey, proven));
        }
      }
      const response = await streamFromApi(url, { ...request, headers }, { provider, dispatcher });
      if (token?.dpopKey === undefined) return response;
      const told = nonces.note(url, response.headers);
      if (attempt > 1 || !told || !wantsNonce(response) || !isReplayable(request.body)) return response;
      await response.body?.cancel().catch(() => undefined);
    }
  }

  /** What a `profile` function gets to work with. */
  profileContext(
    tokens: TokenSet,
    known: Pick<ProfileContext, 'claims' | 'userinfo'>,
    dpopKey?: string,
  ): ProfileContext {
    const { definition } = this.connection;
    const token: SentToken = { value: tokens.accessToken, type: tokens.tokenType, dpopKey };
    const bounded = (init: RequestInit = {}): RequestInit => ({
      ...init,
      signal: AbortSignal.timeout(definition.timeout),
    });
    const fetch = (url: string, init?: RequestInit) => this.fetch(token, url, bounded(init));
    return {
      ...known,
      scope: tokens.scope,
      get accessToken() {
        return tokens.accessToken;
      },
      fetch,
      json: async (url) => {
        const response = await fetch(url, { headers: { accept: 'application/json' } });
        return readJson(response, definition.name);
      },
    };
  }
}

function isReplayable(body: RequestInit['body']): boolean {
  return body == null || typeof body === 'string' || body instanceof URLSearchParams;
}

async function readJson(response: Response, provider: string): Promise<unknown> {
  const refuse = (reason: string) =>
    new ProviderError('invalid_userinfo', {
      provider,
      httpStatus: response.status,
      cause: new Error(`profile: ${reason}`),
    });
  if (response.status !== 200) {
    await response.body?.cancel().catch(() => undefined);
    throw refuse(`the API answered with status ${response.status}`);
  }
  if (!/^application\/([\w.+-]+\+)?json\b/i.test(response.headers.get('content-type') ?? '')) {
    await response.body?.cancel().catch(() => undefined);
    throw refuse('the API did not answer with JSON');
  }
  const chunks: Uint8Array[] = [];
  let size = 0;
  try {
    for await (const chunk of (response.body ?? []) as AsyncIterable<Uint8Array>) {
      size += chunk.byteLength;
      if (size > MAX_PROFILE_BYTES) break;
      chunks.push(chunk);
    }
    if (size <= MAX_PROFILE_BYTES) return JSON.parse(Buffer.concat(chunks).toString('utf8'));
  } catch {
    throw refuse('the answer broke off or is not JSON');
  }
  throw refuse('the answer is larger than 1 MiB');
}
