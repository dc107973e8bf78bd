// The second half of a login, up to knowing who it is. The order of checks is fixed: shape, state and browser, provider,
// iss, error or code, token request, ID token, userinfo (RFC 9700 §4.7, RFC 9207).
import { Injectable } from '@nestjs/common';
import { UnknownKeyError } from '../crypto/key-ring.js';
import { randomId } from '../crypto/random.js';
import { oneLine } from '../errors/one-line.js';
import { OAuthError } from '../errors/oauth-error.js';
import { OAuthEvents } from '../events/oauth-events.service.js';
import { AuthUrls } from '../options/auth-urls.service.js';
import { ResolvedOptions } from '../options/resolve-options.js';
import type { Identity } from '../providers/identity.js';
import type { IssuedEarly } from '../providers/provider-call.js';
import type { Provider } from '../providers/provider.js';
import { ProviderRegistry } from '../providers/provider.registry.js';
import type { TokenSet } from '../providers/token-set.js';
import type { WebRequest } from '../sessions/web-request.js';
import { asReturnTo, stillSafe } from '../state/return-to.js';
import { type PendingLogin, StateService } from '../state/state.service.js';
import { authorizationError } from './authorization-errors.js';
import { type CallbackParameters, callbackParameters } from './callback-parameters.js';
import { IssuedInVain } from './issued-in-vain.service.js';
import { LoginStarter } from './login-start.service.js';

/** An attempt whose state is used up: from here on, a failure must be noted and what was issued revoked. */
export interface LoginAttempt {
  readonly provider: Provider;
  readonly pending: PendingLogin;
  /** Tokens as soon as they exist. */
  issued: IssuedEarly | null;
  /** Known once the ID token or profile was believed. */
  subject: string | null;
}

/** A login that the provider vouches for. */
export interface VerifiedLogin {
  readonly attempt: LoginAttempt;
  readonly tokens: TokenSet;
  readonly identity: Identity;
  /** The key that the tokens are bound to. */
  readonly dpopKey?: string;
}

/** A duplicate callback: the first one has ended, and this is where it went. */
export interface DuplicateLogin {
  readonly landedAt: string;
}

/** Finishes what {@link LoginStarter} began, as far as the provider is concerned. */
@Injectable()
export class LoginAnswerer {
  constructor(
    private readonly providers: ProviderRegistry,
    private readonly states: StateService,
    private readonly inVain: IssuedInVain,
    private readonly urls: AuthUrls,
    private readonly events: OAuthEvents,
    private readonly starter: LoginStarter,
    private readonly options: ResolvedOptions,
  ) {}

  /** Judges a callback. @param encoded query string or form body, as received */
  async verify(request: WebRequest, providerName: string, encoded: string): Promise<VerifiedLogin | DuplicateLogin> {
    const provider = this.providers.get(providerName);
    let attempt: LoginAttempt;
    let parameters: CallbackParameters;
    try {
      parameters = callbackParameters(encoded, provider.definition.responseMode === 'jwt');
      const browser = request.cookie('browser', this.options.secure);
      if (!browser.present) throw new OAuthError('cookies_blocked');
      const binding = { state: parameters.state, browser: browser.value, provider: provider.name };
      const pending = await this.states.consume(binding);
      if (!pending)
        return { landedAt: stillSafe(await this.states.outcomeOfFirst(binding), this.starter.returnToPolicy) };
      attempt = { provider, pending, issued: null, subject: null };
    } catch (error) {
      throw this.#told(error, provider);
    }
    return this.guarded(attempt, () => this.#redeem(attempt, parameters));
  }

  /** Runs a step of an attempt; when it fails, the attempt ends: noted, revoked, told. */
  async guarded<T>(attempt: LoginAttempt, step: () => Promise<T>): Promise<T> {
    try {
      return await step();
    } catch (error) {
      const { provider, pending } = attempt;
      const failure = this.#told(error, provider, pending.returnTo);
      this.inVain.revoke(attempt);
      await this.states.fail(pending.stateHash, failure.code);
      throw failure;
    }
  }

  /** Tells the operator of a failure, once, and gives it as the person gets it: under the same name, with a way to try again. */
  #told(error: unknown, provider: Provider, returnTo?: string): OAuthError {
    const failure = error instanceof OAuthError ? error : new OAuthError('server_error', { cause: error });
    const { code, cause, message, retryAfter, headers, clearSession } = failure;
    const correlationId = randomId();
    const reason = oneLine(cause instanceof Error ? cause.message : message, 200);
    this.events.emit('loginFailed', { provider: provider.name, code, reason, correlationId });
    const alarm = alarmOf(failure, provider.name);
    if (alarm !== null) this.events.emit('alarm', { code, provider: provider.name, message: alarm });
    const policy = this.starter.returnToPolicy;
    const landing = returnTo === undefined ? {} : { returnTo: asReturnTo(stillSafe(returnTo, policy), policy) };
    // A new one: the same error of a provider may have been thrown to several callers.
    return new OAuthError(code, {
      message,
      cause,
      headers,
      clearSession,
      correlationId,
      provider: provider.name,
      loginUrl: failure.loginUrl ?? this.urls.login(provider.name, landing),
      ...(retryAfter === undefined ? {} : { retryAfter }),
    });
  }

  async #redeem(attempt: LoginAttempt, received: CallbackParameters): Promise<VerifiedLogin> {
    const { provider, pending } = attempt;
    const { state } = received;
    const parameters = await this.#opened(provider, received);
    await this.#assertIssuer(provider, parameters.iss);
    if (parameters.error !== undefined) throw authorizationError(parameters.error, provider.name);
    if (parameters.code === undefined)
      throw new OAuthError('invalid_request', {
        provider: provider.name,
        cause: new Error('callback: "code" is missing'),
      });
    const answer = await provider
      .exchange({
        redirectUri: this.urls.callback(provider.name),
        parameters: new URLSearchParams({
          code: parameters.code,
          state,
          ...(parameters.iss === undefined ? {} : { iss: parameters.iss }),
        }),
        state,
        codeVerifier: pending.codeVerifier,
        nonce: pending.nonce,
        requestedScope: pending.scope,
        ...(pending.maxAge === undefined ? {} : { maxAge: pending.maxAge }),
        ...(pending.acrValues === undefined ? {} : { acrValues: pending.acrValues }),
        ...(pending.dpopKey === undefined ? {} : { dpopKey: pending.dpopKey }),
        onIssued: (tokens) => (attempt.issued = tokens),
      })
      .catch((error: unknown) => {
        // The code, not the connection, was refused: perhaps it was injected or had expired.
        if ((error as { oauthError?: string }).oauthError === 'invalid_grant')
          throw new OAuthError('code_refused', { provider: provider.name, cause: (error as Error).cause });
        throw error;
      });
    const identity = await provider.identify(answer);
    attempt.subject = identity.subject;
    const key = answer.dpopKey === undefined ? {} : { dpopKey: answer.dpopKey };
    return { attempt, tokens: answer.tokens, identity, ...key };
  }

  /** What the provider said: in a signed response (JARM) only what is inside it counts. */
  async #opened(
    provider: Provider,
    received: CallbackParameters,
  ): Promise<Pick<CallbackParameters, 'code' | 'error' | 'iss'>> {
    if (provider.definition.responseMode !== 'jwt') return received;
    const inside = await provider.openResponse(received.response ?? '').catch((error: unknown) => {
      // It came through the browser, where anybody can write one: a refused callback, and no proof of the provider's fault.
      if (error instanceof OAuthError && error.code === 'invalid_id_token')
        throw new OAuthError('invalid_request', { provider: provider.name, cause: error.cause });
      throw error;
    });
    if (inside.state === received.state) return inside;
    throw new OAuthError('invalid_request', { provider: provider.name, cause: new Error('callback: two states') });
  }

  /** RFC 9207 §2.4, on success and on errors alike. */
  async #assertIssuer(provider: Provider, iss: string | undefined): Promise<void> {
    if (provider.definition.syntheticIssuer) return;
    const missing = iss === undefined && (await provider.sendsIssuer());
    if (missing || (iss !== undefined && iss !== provider.issuer)) {
      throw new OAuthError('issuer_mismatch', {
        provider: provider.name,
        cause: new Error(missing ? 'callback: "iss" is missing' : 'callback: "iss" is another issuer'),
      });
    }
  }
}

/** What the operator must see to; null for everything else. */
function alarmOf({ code, cause }: OAuthError, provider: string): string | null {
  if (code === 'client_rejected') return `provider "${provider}" refuses this client; check its credentials`;
  if (code === 'key_unavailable' && cause instanceof UnknownKeyError)
    return `encryption key ${JSON.stringify(cause.keyId)} is needed to open a pending login, and is not configured here`;
  return null;
}
