// Checks all options together, fills in defaults, and freezes the result. Everybody else reads ResolvedOptions.
import type { KeyRing } from '../crypto/key-ring.js';
import { OAuthConfigError } from '../errors/oauth-error.js';
import type { CleanupOptions, LoginOptions, OAuthModuleOptions, RefreshOptions, SessionOptions } from './options.js';
import { kindOf, Problems, shown } from './problems.js';
import type { ProviderDefinition } from './provider-options.js';
import { type ResolvedCsrf, resolveCsrf } from './resolve-csrf.js';
import { resolveKeyRing } from './resolve-keys.js';
import { type ResolvedProvider, resolveProvider } from './resolve-provider.js';
import { originFault, urlFault } from './urls.js';

/** The options as everybody inside reads them: checked, complete, frozen. An injection token as well. */
export abstract class ResolvedOptions {
  /** Scheme, host and path of the application, without trailing slash. */
  abstract readonly baseUrl: string;
  /** Origin of {@link baseUrl}. */
  abstract readonly origin: string;
  /** True on https: cookies are Secure and carry the `__Host-` prefix. */
  abstract readonly secure: boolean;
  abstract readonly keyRing: KeyRing;
  abstract readonly providers: readonly ResolvedProvider[];
  abstract readonly onLogin: OAuthModuleOptions['onLogin'];
  abstract readonly loadUser: OAuthModuleOptions['loadUser'];
  abstract readonly session: Readonly<Required<Omit<SessionOptions, 'maxPerUser'>> & { maxPerUser: number | null }>;
  abstract readonly login: Readonly<Required<LoginOptions>>;
  abstract readonly refresh: Readonly<Required<RefreshOptions>>;
  /** Absolute URL, or null for our own page. */
  abstract readonly errorRedirect: string | null;
  /** Absolute URL. */
  abstract readonly postLogoutRedirect: string;
  abstract readonly returnToOrigins: readonly string[];
  abstract readonly csrf: ResolvedCsrf;
  /** Milliseconds. */
  abstract readonly databaseTimeout: number;
  abstract readonly listenUrl: string | null;
  abstract readonly cleanup: Readonly<Required<CleanupOptions>> | null;
  abstract readonly routes: 'strict' | 'report' | 'off';
}

const KEYS = [
  'baseUrl', 'encryption', 'providers', 'onLogin', 'loadUser', 'session', 'login', 'refresh', 'errorRedirect', 'postLogoutRedirect',
  'returnToOrigins', 'csrf', 'databaseTimeout', 'listen', 'cleanup', 'routes',
]; // prettier-ignore

/** Options that belong beside `useFactory`, never inside its result. */
const EXTRAS = ['global', 'isGlobal', 'routePrefix', 'dataSource'];

/**
 * Checks the options.
 * @throws {OAuthConfigError} with every problem at once.
 */
export function resolveOptions(given: OAuthModuleOptions): ResolvedOptions {
  const problems = new Problems();
  if (typeof given !== 'object' || given === null) throw new OAuthConfigError(['options: must be an object']);
  for (const key of EXTRAS) {
    if (key in given)
      problems.at(key).add('is fixed when the module is defined: put it beside useFactory, not inside its result');
  }
  const known = Object.fromEntries(
    Object.entries(given).filter(([key]) => !EXTRAS.includes(key)),
  ) as unknown as OAuthModuleOptions;
  const options = problems.object<OAuthModuleOptions>(known, KEYS);
  const base = resolveBaseUrl(options.baseUrl, problems.at('baseUrl'));
  const keyRing = resolveKeyRing(options.encryption, problems.at('encryption'));
  const providers = resolveProviders(options.providers, problems.at('providers'));
  const resolved = {
    baseUrl: base.href.replace(/\/+$/, ''),
    origin: base.origin,
    secure: base.protocol === 'https:',
    keyRing: keyRing as KeyRing,
    providers,
    onLogin: problems.at('onLogin').callable(options.onLogin),
    loadUser: problems.at('loadUser').callable(options.loadUser),
    session: resolveSession(options.session, problems.at('session')),
    login: resolveLogin(options.login, problems.at('login')),
    refresh: resolveRefresh(options.refresh, problems.at('refresh')),
    errorRedirect:
      options.errorRedirect === undefined ? null : landing(options.errorRedirect, base, problems.at('errorRedirect')),
    postLogoutRedirect: landing(options.postLogoutRedirect ?? '/', base, problems.at('postLogoutRedirect')),
    returnToOrigins: problems.at('returnToOrigins').texts(options.returnToOrigins, []),
    csrf: resolveCsrf(options.csrf, problems.at('csrf')),
    databaseTimeout: problems.at('databaseTimeout').number(options.databaseTimeout, 5_000, 100, 120_000),
    listenUrl: resolveListen(options.listen, problems.at('listen')),
    cleanup: resolveCleanup(options.cleanup, problems.at('cleanup')),
    routes: problems.at('routes').oneOf(options.routes, ['strict', 'report', 'off'], 'off'),
  };
  for (const [index, origin] of resolved.returnToOrigins.entries()) {
    const fault = originFault(origin);
    if (fault)
      problems
        .at('returnToOrigins')
        .at(index)
        .add(`must be ${fault}, got ${shown(origin)}`);
  }
  if (problems.list.length > 0) throw new OAuthConfigError(problems.list);
  return Object.freeze(resolved);
}

function resolveBaseUrl(given: unknown, problems: Problems): URL {
  const fault =
    urlFault(given) ?? (typeof given === 'string' && given.includes('?') ? 'a URL without query' : undefined);
  if (!fault) return new URL(given as string);
  problems.add(`must be ${fault}, e.g. https://app.example.com; got ${shown(given)}`);
  return new URL('https://invalid.invalid');
}

function resolveProviders(given: unknown, problems: Problems): readonly ResolvedProvider[] {
  if (!Array.isArray(given) || given.length === 0) {
    problems.add(
      `must be a list with at least one provider, e.g. [github({ clientId, clientSecret })]; got ${kindOf(given)}`,
    );
    return [];
  }
  const providers = given.map((definition: ProviderDefinition, index) =>
    resolveProvider(definition, problems.at(index)),
  );
  providers.forEach((provider, index) => {
    if (providers.findIndex((other) => other.name === provider.name) < index)
      problems.at(index).at('name').add(`"${provider.name}" is used twice`);
  });
  return Object.freeze(providers);
}

function landing(given: unknown, base: URL, problems: Problems): string {
  if (typeof given === 'string' && /^\/(?![/\\])/.test(given) && !/[\\\s#]/.test(given))
    return new URL(given, base.origin).href;
  const fault = urlFault(given);
  if (!fault) return new URL(given as string).href;
  problems.add(`must be a path beginning with one "/", or ${fault}, got ${shown(given)}`);
  return base.href;
}

function resolveSession(given: SessionOptions | undefined, at: Problems): ResolvedOptions['session'] {
  const keys = [
    'idleTimeout',
    'absoluteTimeout',
    'cache',
    'cacheSize',
    'stalenessBound',
    'touchInterval',
    'maxPerUser',
    'bindToIdToken',
    'clearSiteData',
  ];
  const options = at.object<SessionOptions>(given, keys);
  const absoluteTimeout = at.at('absoluteTimeout').number(options.absoluteTimeout, 604_800, 1, 34_560_000);
  const idleTimeout = at
    .at('idleTimeout')
    .number(options.idleTimeout, Math.min(43_200, absoluteTimeout), 1, absoluteTimeout);
  const touchInterval = at.at('touchInterval').number(options.touchInterval, 60, 0.05, 86_400);
  return Object.freeze({
    idleTimeout,
    absoluteTimeout,
    cache: at.at('cache').oneOf(options.cache, ['off', 'coherent'], 'off'),
    cacheSize: at.at('cacheSize').integer(options.cacheSize, 10_000, 1),
    stalenessBound: at.at('stalenessBound').number(options.stalenessBound, 5, 0.1, 3600),
    // Use that is written down more seldom would not keep a session alive.
    touchInterval: Math.min(touchInterval, idleTimeout / 4),
    maxPerUser: options.maxPerUser === undefined ? null : at.at('maxPerUser').integer(options.maxPerUser, 1, 1),
    bindToIdToken: at.at('bindToIdToken').boolean(options.bindToIdToken, false),
    clearSiteData: at.at('clearSiteData').boolean(options.clearSiteData, false),
  });
}

function resolveLogin(given: LoginOptions | undefined, at: Problems): ResolvedOptions['login'] {
  const options = at.object<LoginOptions>(given, [
    'stateLifetime',
    'maxPendingPerBrowser',
    'maxPending',
    'thirdPartyStart',
  ]);
  return Object.freeze({
    stateLifetime: at.at('stateLifetime').number(options.stateLifetime, 300, 1, 3600),
    maxPendingPerBrowser: at.at('maxPendingPerBrowser').integer(options.maxPendingPerBrowser, 50, 1, 10_000),
    maxPending: at.at('maxPending').integer(options.maxPending, 1_000_000, 1),
    thirdPartyStart: at.at('thirdPartyStart').boolean(options.thirdPartyStart, false),
  });
}

function resolveRefresh(given: RefreshOptions | undefined, at: Problems): ResolvedOptions['refresh'] {
  const options = at.object<RefreshOptions>(given, ['floor', 'ahead', 'keepAlive']);
  return Object.freeze({
    floor: at.at('floor').number(options.floor, 30, 0, 3600),
    ahead: at.at('ahead').number(options.ahead, 0.8, 0, 1),
    keepAlive: at.at('keepAlive').number(options.keepAlive, 0, 0),
  });
}

function resolveListen(given: OAuthModuleOptions['listen'], at: Problems): string | null {
  const { url } = at.object<{ url: string }>(given, ['url']);
  if (url === undefined) {
    if (given !== undefined) at.at('url').add('is missing; write { url: process.env.DATABASE_DIRECT_URL }');
    return null;
  }
  if (/^postgres(ql)?:\/\//.test(at.at('url').text(url, true))) return url;
  at.at('url').add('must begin with postgres://');
  return null;
}

function resolveCleanup(given: CleanupOptions | false | undefined, at: Problems): ResolvedOptions['cleanup'] {
  if (given === false) return null;
  const options = at.object<CleanupOptions>(given, ['interval', 'batchSize']);
  return Object.freeze({
    interval: at.at('interval').number(options.interval, 60, 0.05, 86_400),
    batchSize: at.at('batchSize').integer(options.batchSize, 1_000, 1, 100_000),
  });
}
