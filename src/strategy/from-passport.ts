// Any passport-oauth2 strategy as a provider: its endpoints, its extra parameters and its reading of the profile are
// taken, its transport is not. Requests that userProfile() makes go through our door, with the token in the header.
import OAuth2Strategy from 'passport-oauth2';
import { OAuthError } from '../errors/oauth-error.js';
import type {
  CommonProviderOptions,
  NamedProvider,
  ProfileContext,
  ProviderProfile,
} from '../options/provider-options.js';
import { readBounded } from '../providers/bounded-body.js';
import { ProviderError, outline } from '../providers/provider-fault.js';

/** A strategy that extends `OAuth2Strategy` of passport-oauth2. */
export interface PassportOAuth2Strategy {
  readonly name?: string | undefined;
  authenticate(...given: never[]): unknown;
}

/** Options of {@link fromPassport}: anything that a provider has, over what the strategy says. */
export interface FromPassportOptions extends Partial<CommonProviderOptions> {
  /** What would be given to `passport.authenticate(name, options)`, e.g. `{ accessType: 'offline' }`. */
  authenticateOptions?: Readonly<Record<string, unknown>>;
}

type Callback = (error: unknown, data?: string, response?: { statusCode: number }) => void;

/** What passport-oauth2 strategies keep, by the names that they have had since 2011. */
interface StrategyInsides {
  readonly name?: string;
  readonly _oauth2: {
    readonly _clientId: string;
    readonly _clientSecret: string;
    readonly _authorizeUrl: string;
    readonly _accessTokenUrl: string;
    readonly _customHeaders?: Record<string, string>;
  };
  readonly _scope?: string | readonly string[];
  readonly _scopeSeparator?: string;
  authorizationParams(options: object): Record<string, unknown>;
  tokenParams(options: object): Record<string, unknown>;
  /** Calls back. Where it is asynchronous, it may also reject. */
  userProfile(accessToken: string, done: (error: unknown, profile?: PassportProfile) => void): unknown;
}

interface PassportProfile {
  readonly id?: string | number;
  readonly displayName?: string;
  readonly username?: string;
  readonly emails?: readonly { value?: string; verified?: boolean | string }[];
  readonly photos?: readonly { value?: string }[];
  readonly _json?: Readonly<Record<string, unknown>>;
}

/** A strategy that never calls back. Milliseconds. */
const PATIENCE = 30_000;

/**
 * Adopts a passport-oauth2 strategy as a provider. Its verify callback is never called: `onLogin` takes its place.
 *
 * @example
 * fromPassport(new GoogleStrategy({ clientID, clientSecret, callbackURL: 'unused', scope: ['profile'] }, () => {}))
 * @throws {OAuthError} `configuration_invalid` for what is no such strategy, and for one that reads no profile
 */
export function fromPassport<const Name extends string = string>(
  strategy: PassportOAuth2Strategy,
  options: FromPassportOptions & { name?: Name } = {},
): NamedProvider<Name> {
  const insides = strategy as unknown as StrategyInsides;
  if (typeof insides._oauth2?._authorizeUrl !== 'string' || typeof insides.userProfile !== 'function') {
    throw new OAuthError('configuration_invalid', {
      message: 'fromPassport() adopts strategies that extend OAuth2Strategy of passport-oauth2; this is none',
    });
  }
  if (readsNoProfile(insides)) {
    throw new OAuthError('configuration_invalid', {
      message:
        'fromPassport(): this strategy has no userProfile() of its own, so nobody could log in with it; use oauth2({ …, profile })',
    });
  }
  const { authenticateOptions = {}, authorizationParams, ...rest } = options;
  const { _oauth2: oauth2, _scopeSeparator: answered } = insides;
  const { scope, separator } = scopeOf(insides, authenticateOptions.scope);
  // Some strategies pass on whatever they are given; scope goes its own way.
  const { scope: _, ...parameters } = texts(insides.authorizationParams(authenticateOptions));
  return {
    name: (insides.name ?? '') as Name,
    clientId: oauth2._clientId,
    clientSecret: oauth2._clientSecret,
    authorizationEndpoint: oauth2._authorizeUrl,
    tokenEndpoint: oauth2._accessTokenUrl,
    ...(sendsBasic(oauth2._customHeaders) ? { clientAuthentication: 'client_secret_basic' } : {}),
    scope,
    apiOrigins: profileOrigins(insides),
    ...rest,
    authorizationParams: { ...parameters, ...authorizationParams },
    kind: 'oauth2',
    quirks: {
      tokenParams: () => texts(insides.tokenParams(authenticateOptions)),
      formEncodedTokens: true,
      ...(answered && answered !== ' ' ? { scopeSeparator: answered } : {}),
      requestScopeSeparator: separator,
    },
    profile: (context) => readProfile(insides, context, options.name ?? insides.name ?? ''),
  };
}

/** Compared as text: a strategy may come with a passport-oauth2 of its own. */
function readsNoProfile(insides: StrategyInsides): boolean {
  const textOf = (of: object): string => String(Reflect.get(of, 'userProfile'));
  return textOf(insides) === textOf(OAuth2Strategy.prototype);
}

/** The scope as Passport asks for it: a list by the strategy's separator, a text as it is written. */
function scopeOf(
  { _scope, _scopeSeparator: own = ' ' }: StrategyInsides,
  asked: unknown,
): { scope: readonly string[]; separator: string } {
  const given = (asked ?? _scope ?? []) as string | readonly string[];
  if (typeof given !== 'string') return { scope: given, separator: own };
  const separator = /\s/.test(given.trim()) ? ' ' : own;
  return { scope: given.split(separator === ' ' ? /\s+/ : separator).filter((item) => item !== ''), separator };
}

/** Where the client is authenticated by a header of the strategy's own making, ours does the same. */
function sendsBasic(headers: Readonly<Record<string, string>> = {}): boolean {
  return Object.entries(headers).some(([name, value]) => /^authorization$/i.test(name) && /^basic /i.test(value));
}

/** Where the strategy reads profiles: its own addresses with such a name. */
function profileOrigins(insides: StrategyInsides): readonly string[] {
  const found = Object.entries(insides).flatMap(([name, value]) =>
    typeof value === 'string' && /profile|user|email|api/i.test(name) && /^https?:/.test(value) && URL.canParse(value)
      ? [new URL(value).origin]
      : [],
  );
  return [...new Set(found)];
}

function texts(parameters: Record<string, unknown> | undefined): Record<string, string> {
  const given = Object.entries(parameters ?? {}).filter(([, value]) => value !== undefined && value !== null);
  return Object.fromEntries(
    given.map(([name, value]) => [name, typeof value === 'string' ? value : JSON.stringify(value)]),
  );
}

async function readProfile(
  insides: StrategyInsides,
  context: ProfileContext,
  provider: string,
): Promise<ProviderProfile> {
  const running = Object.create(insides) as StrategyInsides & { _oauth2: object };
  let timer: NodeJS.Timeout | undefined;
  try {
    const profile = await new Promise<PassportProfile | undefined>((resolve, reject) => {
      const failed = (error: unknown): void => reject(asError(error));
      Object.defineProperty(running, '_oauth2', { value: ourTransport(insides, context, { provider, failed }) });
      timer = setTimeout(() => reject(new Error('userProfile() did not call back')), PATIENCE);
      const called = running.userProfile(context.accessToken, (error, found) =>
        error ? failed(error) : resolve(found),
      );
      Promise.resolve(called).catch(failed);
    });
    return normalised(profile ?? {});
  } catch (error) {
    if (error instanceof OAuthError) throw error;
    throw new ProviderError('invalid_userinfo', { provider, cause: outline(error) });
  } finally {
    clearTimeout(timer);
  }
}

/** An `_oauth2` whose requests are ours. It has no way to the token endpoint, and puts no token into a URL. `failed` is told of what a callback throws. */
function ourTransport(
  insides: StrategyInsides,
  context: ProfileContext,
  { provider, failed }: { provider: string; failed: (error: unknown) => void },
): object {
  const send = (method: string, url: string, headers: unknown, body: unknown, done: Callback): void => {
    const init: RequestInit = { method, headers: { ...insides._oauth2._customHeaders, ...(headers as object) } };
    if (typeof body === 'string' && body !== '') init.body = body;
    context
      .fetch(withoutToken(url), init)
      .then(async (response) => ({
        status: response.status,
        text: (await readBounded(response, provider)).toString('utf8'),
      }))
      .then(
        ({ status, text }) =>
          status >= 200 && status < 300
            ? done(null, text, { statusCode: status })
            : done({ statusCode: status, data: text }),
        // What only the configuration can mend is not left for the strategy to wrap.
        (error: unknown) =>
          error instanceof OAuthError && error.code === 'origin_not_allowed' ? failed(error) : done(error),
      )
      // Callbacks of strategies throw on answers they did not expect; nobody else would hear of it.
      .catch(failed);
  };
  const forbidden = (): never => {
    throw new Error('the transport of passport-oauth2 is not used');
  };
  return Object.assign(Object.create(insides._oauth2) as object, {
    get: (url: string, _token: string, done: Callback) => send('GET', url, {}, '', done),
    getProtectedResource: (url: string, _token: string, done: Callback) => send('GET', url, {}, '', done),
    _request: (method: string, url: string, headers: unknown, body: unknown, _token: unknown, done: Callback) =>
      send(method, url, headers, body, done),
    _executeRequest: forbidden,
    getOAuthAccessToken: forbidden,
  });
}

function withoutToken(given: string): string {
  if (!URL.canParse(given)) return given;
  const url = new URL(given);
  url.searchParams.delete('access_token');
  return url.href;
}

/** Errors of strategies hold whole answers of the provider: only what they say of themselves is kept. */
function asError(error: unknown): Error {
  if (error instanceof OAuthError) return error;
  return error instanceof Error ? new Error(`userProfile() failed: ${error.name}`) : new Error('userProfile() failed');
}

/** @see https://www.passportjs.org/reference/normalized-profile/ */
function normalised(profile: PassportProfile): ProviderProfile {
  const [email] = profile.emails ?? [];
  const verified = email?.verified === true || email?.verified === 'true';
  return {
    ...(profile.id === undefined ? {} : { subject: profile.id }),
    name: profile.displayName ?? null,
    username: profile.username ?? null,
    email: email?.value ?? null,
    emailVerified: verified,
    picture: profile.photos?.[0]?.value ?? null,
    raw: profile._json ?? { id: profile.id },
  };
}
