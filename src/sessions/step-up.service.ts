// Judges what a handler demands of a session, and says how to meet it (RFC 9470). The demands travel in the login URL
// sealed and bound to the session: nothing in a query can be made up, weakened or used by somebody else.
import { Injectable } from '@nestjs/common';
import { type SealContext, Sealer } from '../crypto/sealing.js';
import { OAuthError } from '../errors/oauth-error.js';
import { AuthUrls } from '../options/auth-urls.service.js';
import { ResolvedOptions } from '../options/resolve-options.js';
import type { OAuthSession } from '../options/session.js';
import { databaseTimeOf } from './oauth-session.js';
import type { Policy } from './policy.js';

/** Name of the query parameter of `/login`. */
const PARAMETER = 'step_up';

/** What a step-up login asks of the provider. */
export interface StepUpDemands {
  readonly sessionId: string;
  /** Seconds. */
  readonly maxAge?: number;
  readonly acrValues?: readonly string[];
  readonly scope?: readonly string[];
}

/** Step-up authentication. */
@Injectable()
export class StepUp {
  constructor(
    private readonly sealer: Sealer,
    private readonly urls: AuthUrls,
    private readonly options: ResolvedOptions,
  ) {}

  /**
   * Judges a session by its row.
   * @throws {OAuthError} `insufficient_scope`, `step_up_required`, or `insufficient_authentication` where the session's
   *   provider cannot vouch for what is demanded
   */
  async enforce(session: OAuthSession, { scopes, maxAge, acrValues }: Policy, landing: string): Promise<void> {
    const missing = scopes?.filter((scope) => !session.scope.includes(scope)) ?? [];
    if (missing.length > 0) throw await this.#insufficientScope(session, scopes!, landing);
    const stale = maxAge !== undefined && !isFresh(session.authTime, maxAge, session);
    const weak = acrValues !== undefined && !(session.acr !== null && acrValues.includes(session.acr));
    if (stale || weak)
      throw await this.required(
        session,
        {
          ...(maxAge === undefined ? {} : { maxAge }),
          ...(acrValues === undefined ? {} : { acrValues }),
        },
        landing,
      );
  }

  /** True when the person logged in lately: by the provider's word, else by the age of the session itself. */
  isRecent(session: OAuthSession, maxAge: number): boolean {
    return isFresh(session.authTime ?? session.createdAt, maxAge, session);
  }

  /** The error that asks for a step-up login. @param landing request target to come back to */
  async required(
    session: OAuthSession,
    demands: Omit<StepUpDemands, 'sessionId'>,
    landing: string,
  ): Promise<OAuthError> {
    const provider = this.options.providers.find(({ name }) => name === session.provider);
    // Only an ID token says when and how somebody authenticated.
    if (provider?.kind !== 'oidc')
      return new OAuthError('insufficient_authentication', {
        provider: session.provider,
        cause: new Error('the provider of this session asserts neither auth_time nor acr'),
      });
    const { maxAge, acrValues } = demands;
    const challenge = [
      'Bearer error="insufficient_user_authentication"',
      ...(maxAge === undefined ? [] : [`max_age="${maxAge}"`]),
      ...(acrValues === undefined ? [] : [`acr_values="${quoted(acrValues)}"`]),
    ].join(', ');
    return new OAuthError('step_up_required', {
      provider: session.provider,
      headers: { 'www-authenticate': challenge },
      loginUrl: await this.#loginUrl(session, demands, landing),
    });
  }

  /** The demands in a login URL: null when there are none, or they are another session's. The guard judges in any case. */
  async demandsOf(
    provider: string,
    sealed: string | undefined,
    session: OAuthSession | null,
  ): Promise<StepUpDemands | null> {
    if (sealed === undefined || session === null) return null;
    const opened = await this.sealer.open(contextOf(provider), sealed).catch(() => {
      throw new OAuthError('invalid_request', { cause: new Error(`"${PARAMETER}" is not one of ours`) });
    });
    const demands = JSON.parse(opened) as StepUpDemands;
    return demands.sessionId === session.id && session.provider === provider ? demands : null;
  }

  async #insufficientScope(session: OAuthSession, scopes: readonly string[], landing: string): Promise<OAuthError> {
    const provider = this.options.providers.find(({ name }) => name === session.provider);
    const scope = [...new Set([...(provider?.scope ?? []), ...session.scope, ...scopes])];
    return new OAuthError('insufficient_scope', {
      provider: session.provider,
      headers: { 'www-authenticate': `Bearer error="insufficient_scope", scope="${quoted(scopes)}"` },
      ...(provider ? { loginUrl: await this.#loginUrl(session, { scope }, landing) } : {}),
    });
  }

  async #loginUrl(session: OAuthSession, demands: Omit<StepUpDemands, 'sessionId'>, landing: string): Promise<string> {
    const plain = JSON.stringify({ ...demands, sessionId: session.id } satisfies StepUpDemands);
    return this.urls.loginBackTo(landing, session.provider, {
      [PARAMETER]: await this.sealer.seal(contextOf(session.provider), plain),
    });
  }
}

function contextOf(provider: string): SealContext {
  return ['login', PARAMETER, provider];
}

function isFresh(since: Date | null, maxAge: number, session: OAuthSession): boolean {
  return since !== null && databaseTimeOf(session) - since.getTime() <= maxAge * 1000;
}

function quoted(words: readonly string[]): string {
  return words.map((word) => word.replace(/[^\x21\x23-\x5b\x5d-\x7e]/g, '')).join(' ');
}
