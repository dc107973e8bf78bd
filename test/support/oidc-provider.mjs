// @ts-check
// A real OpenID Connect provider over HTTP on loopback, made of `oidc-provider`: sign-in page, rotating refresh tokens,
// revocation, logout in both directions, PAR, DPoP, and a small protected API. For tests and for the demo.
import { createServer } from 'node:http';
import { providerConfiguration, signingKeys } from './oidc-configuration.mjs';
import { MemoryStore } from './memory-adapter.mjs';
import { interact } from './identity-interaction.mjs';
import { judgeAccess } from './protected-api.mjs';
// The package's main file only adds a notice on older versions of node to this class.
import { Provider } from 'oidc-provider/lib/provider.js';

/** @typedef {{ sub: string, username: string, name?: string, email?: string } & Record<string, unknown>} ProviderAccount */

/**
 * One request that came in; `status` is 0 until it is answered.
 *
 * @typedef {object} LoggedRequest
 * @property {string} method
 * @property {string} path Without the query.
 * @property {Record<string, string>} query
 * @property {import('node:http').IncomingHttpHeaders} headers
 * @property {Record<string, string>} body Form or JSON fields, empty without a body.
 * @property {number} status
 * @property {number} at Milliseconds since the epoch.
 */

/**
 * @typedef {object} ProviderOptions
 * @property {Partial<import('oidc-provider').ClientMetadata>[]} clients `client_id`, `client_secret`, `redirect_uris`
 *   and whatever differs from: code and refresh grants, secret in the body.
 * @property {ProviderAccount[]} [accounts] By default Alice and Bob.
 * @property {number} [accessTokenTtl] Seconds, by default 3600.
 * @property {number} [refreshTokenTtl] Seconds, by default 14 days.
 * @property {boolean} [rotateRefreshToken] By default true; a used one presented again revokes the whole grant.
 * @property {'always' | 'offline_access' | 'never'} [refreshTokens] When a code yields one, by default always.
 * @property {string} [autoSignIn] A username that is signed in at once, without the page.
 * @property {string[]} [acrValues] The `acr` values known; one that is asked for is granted.
 * @property {Record<string, string>} [resources] Resource indicators (RFC 8707) served, each with its scope.
 * @property {boolean} [dpopNonce] Demand server nonces in DPoP proofs, by default false.
 * @property {number} [port] By default a free one.
 * @property {string} [host] Host in the issuer, `127.0.0.1` (default) or `localhost`.
 * @property {(port: number) => string | Promise<string>} [issuerFor] Another issuer for the port in use: the address of a
 *   proxy in front, say.
 * @property {(configuration: import('oidc-provider').Configuration) => import('oidc-provider').Configuration} [configure]
 *   Last word on the provider's own configuration.
 */

/**
 * Starts a provider.
 *
 * @param {ProviderOptions} options
 */
export async function startOidcProvider(options) {
  const server = createServer((request, response) => void running.answer(request, response));
  await new Promise((done, fail) =>
    server.once('error', fail).listen(options.port ?? 0, '127.0.0.1', () => done(undefined)),
  );
  const address = /** @type {import('node:net').AddressInfo} */ (server.address());
  const issuer = (await options.issuerFor?.(address.port)) ?? `http://${options.host ?? '127.0.0.1'}:${address.port}`;
  const running = new OidcProvider(server, issuer, address.port, options);
  await running.rotateKeys();
  return running;
}

/** A provider that is running; see {@link startOidcProvider}. Its public fields may be changed at any time. */
export class OidcProvider {
  /** Every request since the start, in order; set `length = 0` to forget. @type {LoggedRequest[]} */
  requests = [];
  /** Errors that the provider reported, for finding out why a test fails. @type {string[]} */
  problems = [];
  /** Lifetime of access tokens issued from now on, in seconds. */
  accessTokenTtl = 3600;
  /** The username signed in without the page, if any. @type {string | undefined} */
  autoSignIn;
  /**
   * Answers a request in the provider's stead by returning true: for faults.
   *
   * @type {((request: import('node:http').IncomingMessage, response: import('node:http').ServerResponse) => boolean | Promise<boolean>) | undefined}
   */
  intercept;

  /** @type {Map<string, ProviderAccount>} */
  #accounts;
  /** @type {Map<string, number>} */
  #calls = new Map();
  /** @type {WeakMap<import('node:http').IncomingMessage, LoggedRequest>} */
  #entries = new WeakMap();
  #store = new MemoryStore();
  #server;
  #options;
  /** @type {Provider | undefined} */
  #provider;
  /** @type {((request: import('node:http').IncomingMessage, response: import('node:http').ServerResponse) => Promise<void>) | undefined} */
  #handle;

  /**
   * @param {import('node:http').Server} server
   * @param {string} issuer
   * @param {number} port
   * @param {ProviderOptions} options
   */
  constructor(server, issuer, port, options) {
    this.#server = server;
    this.#options = options;
    /** The issuer identifier, without a trailing slash. */
    this.issuer = issuer;
    /** Where it listens. */
    this.port = port;
    this.accessTokenTtl = options.accessTokenTtl ?? 3600;
    this.autoSignIn = options.autoSignIn;
    this.#accounts = new Map((options.accounts ?? DEFAULT_ACCOUNTS).map((account) => [account.sub, account]));
  }

  /** Address of the server, the same as the issuer. */
  get url() {
    return this.issuer;
  }

  /** Address of the protected API: `GET` answers `{ sub, name, calls }` to a live access token, 401 to any other. */
  get apiUrl() {
    return `${this.issuer}/api/profile`;
  }

  /** @param {string} path Requests to this path so far. */
  requestsTo(path) {
    return this.requests.filter((request) => request.path === path);
  }

  /** @param {ProviderAccount} account Added, or put in the place of the one with the same `sub`. */
  setAccount(account) {
    this.#accounts.set(account.sub, account);
  }

  /** New signing keys from now on; the old ones are no longer published. Tokens and sessions live on. */
  async rotateKeys() {
    const configuration = providerConfiguration({
      ...{ options: this.#options, port: this.port, store: this.#store, keys: await signingKeys() },
      accessTokenTtl: () => this.accessTokenTtl,
      account: (sub) => this.#accounts.get(sub),
    });
    const provider = new Provider(this.issuer, this.#options.configure?.(configuration) ?? configuration);
    provider.use(async (context, next) => {
      await next();
      const entry = this.#entries.get(context.req);
      if (entry && context.oidc?.body) entry.body = /** @type {Record<string, string>} */ (context.oidc.body);
    });
    const note = (/** @type {unknown} */ _context, /** @type {Error & { error_detail?: string }} */ error) =>
      this.problems.push(
        [error.message, error.error_detail, error.stack?.split('\n')[1]?.trim()].filter(Boolean).join(' | '),
      );
    provider.on('server_error', note).on('grant.error', note).on('authorization.error', note);
    provider.on('backchannel.error', note);
    this.#provider = provider;
    this.#handle = /** @type {(request: unknown, response: unknown) => Promise<void>} */ (provider.callback());
  }

  /** Ends the validity of tokens at once. @param {{ sub?: string, kinds?: ('AccessToken' | 'RefreshToken')[] }} [which] */
  revoke({ sub, kinds = ['AccessToken', 'RefreshToken'] } = {}) {
    const wanted = new Set(/** @type {string[]} */ (kinds));
    return this.#store.remove(
      (model, payload) => wanted.has(model) && (sub === undefined || payload.accountId === sub),
    );
  }

  /** Forgets every browser that is signed in here, silently. */
  forgetSessions() {
    return this.#store.remove((model) => model === 'Session');
  }

  /**
   * Sends a logout token to a client's registered back-channel address.
   *
   * @param {{ clientId: string, sub: string, sid?: string }} session
   * @throws {Error} When the client answers anything but 200 or 204.
   */
  async backchannelLogout({ clientId, sub, sid }) {
    const client = /** @type {any} */ (await this.#provider?.Client.find(clientId));
    if (!client) throw new Error(`No client ${clientId}.`);
    await client.backchannelLogout(sub, sid);
  }

  /** Stops, and closes every connection. */
  async close() {
    this.#server.closeAllConnections();
    await new Promise((done) => this.#server.close(done));
  }

  [Symbol.asyncDispose]() {
    return this.close();
  }

  /**
   * Answers one request: ours, or the provider's.
   *
   * @param {import('node:http').IncomingMessage} request
   * @param {import('node:http').ServerResponse} response
   */
  async answer(request, response) {
    const url = new URL(request.url ?? '/', this.issuer);
    /** @type {LoggedRequest} */
    const entry = {
      ...{ method: request.method ?? '', path: url.pathname, query: Object.fromEntries(url.searchParams) },
      ...{ headers: request.headers, body: {}, status: 0, at: Date.now() },
    };
    this.requests.push(entry);
    this.#entries.set(request, entry);
    response.on('finish', () => (entry.status = response.statusCode));
    try {
      if (await this.intercept?.(request, response)) return;
      if (url.pathname === '/api/profile') return await this.#profile(request, response);
      const provider = /** @type {Provider} */ (this.#provider);
      const accounts = [...this.#accounts.values()];
      const about = { accounts, autoSignIn: this.autoSignIn, acrValues: this.#options.acrValues, entry };
      if (await interact(provider, request, response, about)) return;
      await this.#handle?.(request, response);
    } catch (failure) {
      this.problems.push(String(failure));
      if (!response.headersSent) response.writeHead(400, { 'content-type': 'text/plain' });
      response.end('This sign-in has expired. Go back to the application and begin again.');
    }
  }

  /** @param {import('node:http').IncomingMessage} request @param {import('node:http').ServerResponse} response */
  async #profile(request, response) {
    const verdict = await judgeAccess(request, {
      url: this.apiUrl,
      find: async (value) => {
        const token = await this.#provider?.AccessToken.find(value);
        return token?.accountId ? { accountId: token.accountId, jkt: token.jkt } : undefined;
      },
    });
    const headers = { 'content-type': 'application/json', 'cache-control': 'no-store' };
    if ('challenge' in verdict) {
      response.writeHead(401, { ...headers, 'www-authenticate': verdict.challenge });
      response.end('{"error":"invalid_token"}');
      return;
    }
    const sub = verdict.token.accountId;
    const calls = (this.#calls.get(sub) ?? 0) + 1;
    this.#calls.set(sub, calls);
    response.writeHead(200, headers).end(JSON.stringify({ sub, name: this.#accounts.get(sub)?.name ?? null, calls }));
  }
}

/** @type {ProviderAccount[]} */
const DEFAULT_ACCOUNTS = [
  { sub: 'alice-1', username: 'alice', name: 'Alice Ansel', email: 'alice@example.com', email_verified: true },
  { sub: 'bob-2', username: 'bob', name: 'Bob Berg', email: 'bob@example.com', email_verified: true },
];
