// The provider that tests talk to: an OpenID Connect and OAuth 2.0 server with a resource server beside it, over real
// HTTP, whose every fault can be switched on and whose every request can be read back.
import {
  defaultBehaviour,
  type FakeBehaviour,
  type FakeClient,
  type FakeUser,
  type JsonObject,
  type SigningAlgorithm,
} from './behaviour.js';
import { ProviderCore } from './core.js';
import { ProviderControls } from './controls.js';
import { Dispatcher } from './dispatch.js';
import { signToken, type Forgery } from './forgery.js';
import { Listener, type FakeTls } from './listener.js';
import {
  makeFrontchannelUrl,
  makeLogoutToken,
  postLogoutToken,
  type LogoutAnswer,
  type LogoutTokenOptions,
} from './logout.js';
import type { LoggedRequest } from './request-log.js';
import { Router } from './router.js';
import { SigningKeys, type DecoyKind } from './signing-keys.js';

/** Options of {@link FakeProvider.start}: where it listens, whom it knows, and any {@link FakeBehaviour}. */
export interface FakeProviderOptions extends Partial<FakeBehaviour> {
  /** Port of the authorization server. @defaultValue any free one */
  port?: number;
  /** Port of the resource server, an origin of its own. @defaultValue any free one */
  apiPort?: number;
  /** Host name in all URLs; both servers are bound to 127.0.0.1. @defaultValue `'localhost'` */
  host?: string;
  /** Path of the issuer, as tenants have: `/tenant-1`. @defaultValue `''` */
  issuerPath?: string;
  /** Serves https instead of http. */
  tls?: FakeTls;
  /** @defaultValue one client, `client` with the secret `secret` */
  clients?: FakeClient[];
  /** Known users; the first one logs in until `user()` says otherwise. @defaultValue `{ sub: 'user-1', … }` */
  users?: FakeUser[];
}

const DEFAULT_CLIENT: FakeClient = { clientId: 'client', clientSecret: 'secret' };
const DEFAULT_USER: FakeUser = { sub: 'user-1', name: 'User One', email: 'user-1@example.com', email_verified: true };

/**
 * A misbehaving provider for tests.
 *
 * @example
 * ```ts
 * await using provider = await FakeProvider.start({ clients: [{ clientId: 'app', clientSecret: 'secret' }] });
 * provider.user({ sub: 'alice', email: 'alice@example.com' });
 * provider.fault('refresh', { kind: 'lostAnswer', times: 1 });
 * // … let the application refresh …
 * expect(provider.counters.refreshes).toBe(1);
 * ```
 */
export class FakeProvider extends ProviderControls implements AsyncDisposable {
  private constructor(
    core: ProviderCore,
    private readonly options: FakeProviderOptions,
    private readonly dispatcher: Dispatcher,
    private readonly main: Listener,
    private readonly side: Listener,
  ) {
    super(core);
  }

  /** Starts a provider; close it with `close()` or `await using`. */
  static async start(options: FakeProviderOptions = {}): Promise<FakeProvider> {
    const core = new ProviderCore(
      await SigningKeys.create(),
      behaviourOf(options),
      options.issuerPath ?? '',
      DEFAULT_USER,
    );
    const dispatcher = new Dispatcher(core, new Router(core));
    const at = { host: options.host ?? 'localhost', tls: options.tls };
    const main = new Listener({ ...at, port: options.port ?? 0 }, dispatcher.handle);
    const side = new Listener({ ...at, port: options.apiPort ?? 0 }, dispatcher.handle);
    const provider = new FakeProvider(core, options, dispatcher, main, side);
    provider.seed();
    await provider.comeBack();
    return provider;
  }

  /** Origin of the authorization server. */
  get url(): string {
    return this.core.url;
  }

  /** Issuer identifier: the origin plus `issuerPath`. */
  get issuer(): string {
    return this.core.issuer;
  }

  /** Base of the resource server, an origin of its own: `http://localhost:<port>/api`. `${url}/api` answers too. */
  get apiUrl(): string {
    return `${this.core.apiOrigin}/api`;
  }

  /** An address that nothing honest leads to; requests are logged as `trap`. */
  get trapUrl(): string {
    return this.core.trapUrl;
  }

  /** Absolute URL of an endpoint. */
  endpoint(name: 'authorize' | 'token' | 'userinfo' | 'revoke' | 'par' | 'end_session' | 'jwks'): string {
    return this.core.address(name);
  }

  /** Every switch; assign to its members at any time. */
  get behaviour(): FakeBehaviour {
    return this.core.behaviour;
  }

  /** Changes several switches at once. */
  configure(changes: Partial<FakeBehaviour>): void {
    Object.assign(this.core.behaviour, changes);
  }

  /** Says who logs in from now on: a user, or a function asked at every login. A `login_hint` of a known user wins. */
  user(user: FakeUser | ((request: LoggedRequest) => FakeUser)): void {
    if (typeof user !== 'function') this.core.users.set(user.sub, user);
    this.core.user = user;
  }

  /** Registers a client, or replaces the one with this id. */
  addClient(client: FakeClient): void {
    this.core.clients.set(client.clientId, client);
  }

  /** Replaces all signing keys; the old ones stay published unless `keepOld` is false. */
  rotateKeys(options?: { keepOld?: boolean }): Promise<void> {
    return this.core.keys.rotate(options);
  }

  /** Publishes keys that must not be used. */
  addDecoyKeys(...kinds: DecoyKind[]): void {
    this.core.keys.addDecoys(...kinds);
  }

  /** Signs any claims with a key of this provider. */
  sign(
    claims: JsonObject,
    options: { alg?: SigningAlgorithm; header?: JsonObject; secret?: string; forgery?: Forgery } = {},
  ): string {
    const { alg = this.behaviour.idTokenAlg, header = {}, secret = '', forgery } = options;
    return signToken(this.core.keys, { claims, header: { alg, ...header }, secret }, forgery, this.trapUrl);
  }

  /** Failures of the provider itself; a test that sees one should fail. */
  get internalErrors(): readonly unknown[] {
    return this.dispatcher.internalErrors;
  }

  /** Makes access tokens invalid at once, of one user or of all; refresh tokens stay good. */
  expireAccessTokens(sub?: string): void {
    this.core.store.expireAccessTokens(sub);
  }

  /** Withdraws the consent of a user: all families end, and refreshes answer `invalid_grant`. */
  revokeUser(sub: string): void {
    this.core.store.revokeUser(sub);
  }

  /** A signed logout token about the last login; an override of `undefined` removes a claim. */
  logoutToken(overrides?: JsonObject, options?: LogoutTokenOptions): string {
    return makeLogoutToken(this.core, overrides, options);
  }

  /** Posts such a token to an application's back-channel logout URL. */
  sendBackchannelLogout(url: string, overrides?: JsonObject, options?: LogoutTokenOptions): Promise<LogoutAnswer> {
    return postLogoutToken(url, this.logoutToken(overrides, options));
  }

  /** An application's front-channel logout URL with `iss` and `sid` of the last login; `null` leaves one out. */
  frontchannelLogoutUrl(address: string, given?: { iss?: string | null; sid?: string | null }): string {
    return makeFrontchannelUrl(this.core, address, given);
  }

  /** Resolves once every request was answered or given up by its caller. */
  idle(): Promise<void> {
    return this.dispatcher.idle();
  }

  /** Vanishes: connections are dropped and new ones refused. State is kept. */
  async goDown(): Promise<void> {
    this.dispatcher.stop();
    await Promise.all([this.main.down(), this.side.down()]);
  }

  /** Listens again, on the same ports; where one of them is taken, on neither. */
  async comeBack(): Promise<void> {
    const outcomes = await Promise.allSettled([this.main.up(), this.side.up()]);
    const failed = outcomes.find((outcome) => outcome.status === 'rejected');
    if (failed) {
      // A server that nobody holds would keep the process of the tests alive.
      await this.goDown();
      throw failed.reason as Error;
    }
    this.core.url = this.main.origin;
    this.core.apiOrigin = this.side.origin;
  }

  /** Back to the state after `start()`; ports and signing keys stay. */
  reset(): void {
    const { core } = this;
    core.behaviour = behaviourOf(this.options);
    for (const registry of [core.faults, core.tampers, core.forgeries, core.gates, core.store]) registry.clear();
    for (const list of [core.requests, core.logins, core.revocations, core.endSessions]) list.length = 0;
    core.keys.clearDecoys();
    core.mixUp = undefined;
    this.dispatcher.internalErrors.length = 0;
    this.seed();
  }

  /** Closes the servers and all connections. */
  async close(): Promise<void> {
    await this.goDown();
  }

  /** Same as `close()`, for `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  private seed(): void {
    const { clients = [DEFAULT_CLIENT], users = [DEFAULT_USER] } = this.options;
    this.core.clients.clear();
    this.core.users.clear();
    for (const client of clients) this.addClient(client);
    for (const user of users) this.core.users.set(user.sub, user);
    this.core.user = users[0] ?? DEFAULT_USER;
  }
}

function behaviourOf(options: FakeProviderOptions): FakeBehaviour {
  const behaviour = defaultBehaviour();
  const known = Object.keys(behaviour);
  const given = Object.entries(options).filter(([name]) => known.includes(name));
  return { ...behaviour, ...(Object.fromEntries(given) as Partial<FakeBehaviour>), metadata: { ...options.metadata } };
}
