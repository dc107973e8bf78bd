// Every option of the module, declared and documented once.
import type { KeyRing } from '../crypto/key-ring.js';
import type { OAuthAppUser, OAuthLogin, OAuthUser } from './login.js';
import type { ProviderDefinition } from './provider-options.js';
import type { OAuthSession } from './session.js';

/** Options of `OAuthModule.forRoot()`, and what the factory of `forRootAsync()` returns. */
export interface OAuthModuleOptions {
  /** Public URL of the application, https (http on loopback only); it may have a path. Redirect URIs, cookies and origins come from here, never from request headers. */
  baseUrl: string;
  /** Keys that seal secrets at rest. */
  encryption: EncryptionOptions;
  /** At least one provider. */
  providers: readonly ProviderDefinition[];
  /** Called at each login before anything is written: find or create the user, and return its id (1,024 bytes at most). Throw `LoginRefusedError` to refuse. @defaultValue the account's id is the user id */
  onLogin?: (login: OAuthLogin) => string | Promise<string>;
  /**
   * Asked for each guarded request: the application's own user for `@CurrentUser()`, or null when there is none any more (401). An exception denies (503).
   * Its type is the `user` of `OAuthTypes`. @defaultValue the user as the session knows it
   */
  loadUser?: (user: OAuthUser, session: OAuthSession) => LoadedUser | Promise<LoadedUser>;
  /** Lifetimes and caching of sessions. */
  session?: SessionOptions;
  /** Pending logins. */
  login?: LoginOptions;
  /** Refreshing access tokens. */
  refresh?: RefreshOptions;
  /** Path or URL that a failed login goes to, with `?error=code`. @defaultValue a plain page of our own */
  errorRedirect?: string;
  /** Path or URL after logout. @defaultValue `/` */
  postLogoutRedirect?: string;
  /** Other origins that `returnTo` may name, e.g. `['https://admin.example.com']`. @defaultValue none */
  returnToOrigins?: readonly string[];
  /** Exemptions from the cross-site check. @defaultValue none */
  csrf?: CsrfOptions;
  /** Longest wait for Postgres, milliseconds: for a connection and the statement that needs it together, a second try included. @defaultValue 5000 */
  databaseTimeout?: number;
  /** `{ url }`: a direct connection for `LISTEN`, where the pool goes through a transaction pooler. @defaultValue the pool's own settings */
  listen?: { url: string };
  /** Removal of expired rows; `false` turns it off here. @defaultValue every 60 s */
  cleanup?: CleanupOptions | false;
  /** Boot audit of all handlers: `strict` refuses to start with one that is neither guarded nor `@Public()`, `report` logs the list. @defaultValue `off` */
  routes?: 'strict' | 'report' | 'off';
}

/** What `loadUser` answers; both nothings mean that there is nobody. */
export type LoadedUser = OAuthAppUser | null | undefined;

/** Keys held here, or a key ring of your own (KMS). */
export interface EncryptionOptions {
  /** The current key first; older ones stay until `nest-oauth rekey` has re-sealed everything. */
  keys?: readonly EncryptionKeyOptions[];
  /** A key ring of your own instead of `keys`. */
  keyRing?: KeyRing;
}

/** One named key. */
export interface EncryptionKeyOptions {
  /** Name stored with each sealed value, e.g. `2026-11`. */
  id: string;
  /** 32 bytes: as base64url, base64 or hex text, or a `Uint8Array`. `nest-oauth keys generate` prints one. */
  secret: string | Uint8Array;
}

/** Times are in seconds. */
export interface SessionOptions {
  /** A session unused for this long ends; seconds. @defaultValue 43200 (12 hours) */
  idleTimeout?: number;
  /** A session ends after this long, used or not; seconds. @defaultValue 604800 (7 days) */
  absoluteTimeout?: number;
  /** `off`: every request asks the database, for a session that was read before only whether it is alive and unchanged. `coherent`: sessions are kept in memory and evicted by notification; needs `oauthCacheMigrations`. @defaultValue `off` */
  cache?: 'off' | 'coherent';
  /** Sessions kept in memory at most, about 1 KB each. @defaultValue 10000 */
  cacheSize?: number;
  /** Longest time that a revoked session may live in a cache cut off from the database; seconds. @defaultValue 5 */
  stalenessBound?: number;
  /** How often it is written down that sessions were used (their idle time begins anew); seconds, and in effect a quarter of `idleTimeout` at most. @defaultValue 60 */
  touchInterval?: number;
  /** Most sessions of one user; the oldest ends first. @defaultValue unlimited */
  maxPerUser?: number;
  /** End the session no later than the ID token's `exp`. @defaultValue false */
  bindToIdToken?: boolean;
  /** Send `Clear-Site-Data: "cache", "storage"` at logout. @defaultValue false */
  clearSiteData?: boolean;
}

/**
 * Guarded handlers that other origins may call with methods that change something. Every entry is compared character by
 * character, and none covers the routes of this module.
 */
export interface CsrfOptions {
  /** Paths of guarded handlers, as this application receives them, e.g. `['/hooks/billing']`. They must have a protection of their own. @defaultValue none */
  exemptPaths?: readonly string[];
  /** Origins whose pages may call every guarded handler and open WebSockets, e.g. `['https://admin.example.com']`. @defaultValue none */
  exemptOrigins?: readonly string[];
}

/** Bounds of pending logins. */
export interface LoginOptions {
  /** Time to finish a login, seconds. @defaultValue 300 */
  stateLifetime?: number;
  /** Pending logins of one browser at most; further ones replace the oldest. @defaultValue 50 */
  maxPendingPerBrowser?: number;
  /** Pending logins altogether at most; then `/login` answers 429. @defaultValue 1000000 */
  maxPending?: number;
  /** Let a third party begin logins (OIDC Core §4) by `GET` or `POST /auth/initiate`; the person is asked before anything happens. @defaultValue false */
  thirdPartyStart?: boolean;
}

/** Times are in seconds. */
export interface RefreshOptions {
  /** Least time between two refreshes of one access token; seconds. @defaultValue 30 */
  floor?: number;
  /** Share of its life (0 to 1) after which a valid token is renewed in the background; 1 turns that off. @defaultValue 0.8 */
  ahead?: number;
  /** Keep idle account-bound grants alive whose refresh token would lapse within this time, seconds; 0 turns that off. @defaultValue 0 */
  keepAlive?: number;
}

/** Removal of expired rows. */
export interface CleanupOptions {
  /** Seconds between two rounds. @defaultValue 60 */
  interval?: number;
  /** Rows removed in one statement. @defaultValue 1000 */
  batchSize?: number;
}

/** Fixed where the module is defined, beside `useFactory`: routes, entities and visibility are decided before any factory runs. */
export interface OAuthModuleExtras {
  /** Make services and guard visible everywhere. @defaultValue true */
  global?: boolean;
  /** Path of the controller. @defaultValue `auth` */
  routePrefix?: string;
  /** Name of the TypeORM DataSource. @defaultValue the default one */
  dataSource?: string;
}

/** The class form of `forRootAsync({ useClass })`. */
export interface OAuthOptionsFactory {
  createOAuthOptions(): OAuthModuleOptions | Promise<OAuthModuleOptions>;
}
