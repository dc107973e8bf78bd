// The first half of a login: remember it, and say where the browser goes.
import { Injectable } from '@nestjs/common';
import { randomToken } from '../crypto/random.js';
import { OAuthError } from '../errors/oauth-error.js';
import { AuthUrls } from '../options/auth-urls.service.js';
import { ResolvedOptions } from '../options/resolve-options.js';
import { newDpopKey } from '../providers/dpop.js';
import { ProviderRegistry } from '../providers/provider.registry.js';
import { BROWSER_COOKIE_MAX_AGE, serializeCookie } from '../sessions/cookies.js';
import type { WebRequest } from '../sessions/web-request.js';
import { type ReturnToPolicy, safeReturnTo } from '../state/return-to.js';
import { type LoginDemands, StateService } from '../state/state.service.js';

/** A begun login: the browser is sent to `location`, with these cookies. */
export interface LoginStart {
  readonly location: string;
  readonly cookies: readonly string[];
}

/** What a login may demand besides the provider's own configuration. */
export interface StartDemands extends Partial<LoginDemands> {
  /** Raw `returnTo`; judged here. */
  readonly returnTo?: unknown;
  /** The session that links or steps up. */
  readonly sessionId?: string;
  readonly prompt?: string;
}

/** Begins logins. */
@Injectable()
export class LoginStarter {
  constructor(
    private readonly providers: ProviderRegistry,
    private readonly states: StateService,
    private readonly urls: AuthUrls,
    private readonly options: ResolvedOptions,
  ) {}

  /** What `returnTo` is judged by. */
  get returnToPolicy(): ReturnToPolicy {
    return { origin: this.options.origin, authPath: this.urls.path, otherOrigins: this.options.returnToOrigins };
  }

  /**
   * Begins a login: one INSERT. Nothing in the query changes what is asked of the provider, except parameters that the
   * provider's `loginParams` allow by name.
   */
  async begin(request: WebRequest, providerName: string, demands: StartDemands = {}): Promise<LoginStart> {
    const provider = this.providers.get(providerName);
    const { definition } = provider;
    const query = singleParameters(request.queryString, definition.loginParams);
    const extra = Object.fromEntries(
      definition.loginParams.flatMap((name) => (query.has(name) ? [[name, query.get(name)!]] : [])),
    );
    // Asked first: a provider that cannot be reached leaves no row behind.
    const attempt = this.states.draw();
    const scope = demands.scope ?? definition.scope;
    const asked = { ...demandsOf(extra), ...demands };
    const checks = {
      ...(asked.maxAge === undefined ? {} : { maxAge: asked.maxAge }),
      ...(asked.acrValues === undefined ? {} : { acrValues: asked.acrValues }),
      ...(definition.dpop ? { dpopKey: await newDpopKey() } : {}),
    };
    const location = await provider.authorizationUrl({
      ...attempt,
      ...checks,
      redirectUri: this.urls.callback(provider.name),
      scope,
      extra,
      ...(demands.prompt === undefined ? {} : { prompt: demands.prompt }),
    });
    const browser = request.cookie('browser', this.options.secure).value;
    const binding = browser ?? randomToken();
    await this.states.remember(attempt, {
      intent: demands.intent ?? 'login',
      scope,
      provider: provider.name,
      browser: binding,
      firstVisit: browser === null,
      returnTo: safeReturnTo('returnTo' in demands ? demands.returnTo : query.get('returnTo'), this.returnToPolicy),
      ...(demands.sessionId === undefined ? {} : { sessionId: demands.sessionId }),
      ...checks,
    });
    const cookies =
      browser === null
        ? [serializeCookie('browser', binding, { secure: this.options.secure, maxAge: BROWSER_COOKIE_MAX_AGE })]
        : [];
    return { location: location.href, cookies };
  }
}

/** What is demanded by name in the query is checked in the answer like everything else that is demanded. */
function demandsOf({ max_age: maxAge, acr_values: acrValues }: Record<string, string>): Partial<LoginDemands> {
  return {
    ...(maxAge !== undefined && /^\d{1,9}$/.test(maxAge) ? { maxAge: Number(maxAge) } : {}),
    ...(acrValues === undefined ? {} : { acrValues: acrValues.split(' ').filter((item) => item !== '') }),
  };
}

/** Longest query of `/login`, characters. A `returnTo` that is too long is ignored, and must get as far as that. */
const MAX_QUERY_LENGTH = 65_536;

/**
 * Parameters that occur exactly once; a repeated one counts as missing.
 * @param strict names of those that must not be repeated
 * @throws {OAuthError} `invalid_request`
 */
export function singleParameters(query: string, strict: readonly string[] = []): Map<string, string> {
  if (query.length > MAX_QUERY_LENGTH)
    throw new OAuthError('invalid_request', { cause: new Error('the query is longer than 64 KB') });
  const found = new Map<string, string>();
  const repeated = new Set<string>();
  for (const [name, value] of new URLSearchParams(query)) {
    if (found.has(name)) repeated.add(name);
    found.set(name, value);
  }
  for (const name of repeated) {
    if (strict.includes(name)) throw new OAuthError('invalid_request', { cause: new Error(`"${name}" is repeated`) });
    found.delete(name);
  }
  return found;
}
