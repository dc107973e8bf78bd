// The second half of a login, up to knowing who it is. The order of checks is fixed: shape, state and browser, provider,
// iss, error or code, token request, ID token, userinfo (RFC 9700 §4.7, RFC 9207).
import { setTimeout as sleep } from 'node:timers/promises';
import { Injectable, type OnApplicationShutdown } from '@nestjs/common';
import { UnknownKeyError } from '../crypto/key-ring.js';
import { randomId } from '../crypto/random.js';
import { oneLine } from '../errors/one-line.js';
import { OAuthError } from '../errors/oauth-error.js';
import { OAuthEvents } from '../events/oauth-events.service.js';
import { GrantRepository } from '../grants/grant.repository.js';
import { AuthUrls } from '../options/auth-urls.service.js';
import { ResolvedOptions } from '../options/resolve-options.js';
import { claimedSubject, type Identity } from '../providers/identity.js';
import type { IssuedEarly } from '../providers/provider-call.js';
import type { Provider } from '../providers/provider.js';
import { ProviderRegistry } from '../providers/provider.registry.js';
import type { TokenSet } from '../providers/token-set.js';
import type { WebRequest } from '../sessions/web-request.js';
import { asReturnTo, stillSafe } from '../state/return-to.js';
import { type PendingLogin, StateService } from '../state/state.service.js';
import { authorizationError } from './authorization-errors.js';
import { type CallbackParameters, callbackParameters } from './callback-parameters.js';
import { LoginStarter } from './login-start.service.js';

/** Pauses between questions to a database that is away, milliseconds: half a minute in all. */
const FIRST_PAUSE = 250;
const LONGEST_PAUSE = 16_000;
/** How long a process that ends waits for the revocations of failed logins, milliseconds. */
const GOODBYE = 2_000;

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
export class LoginAnswerer implements OnApplicationShutdown {
  /** Revocations under way. */
  readonly #revoking = new Set<Promise<void>>();

  constructor(
    private readonly providers: ProviderRegistry,
    private readonly states: StateService,
    private readonly grants: GrantRepository,
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
      if (attempt.issued) {
        const revoking = this.#revoke(attempt).finally(() => this.#revoking.delete(revoking));
        this.#revoking.add(revoking);
      }
      await this.states.fail(pending.stateHash, failure.code);
      throw failure;
    }
  }

  /** What was in flight has been answered by now; what it left to be revoked is waited for, in bounds. */
  async onApplicationShutdown(): Promise<void> {
    await Promise.race([Promise.allSettled(this.#revoking), sleep(GOODBYE, undefined, { ref: false })]);
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

  /** Best effort. Where one revocation ends everything of the user, a living grant of the user is spared. */
  async #revoke({ provider, issued, subject }: LoginAttempt): Promise<void> {
    if (!issued) return;
    try {
      if (provider.definition.revocation === 'grant') {
        const owner = subject ?? (issued.idToken === null ? null : claimedSubject(issued.idToken));
        // No profile could be had, so nobody knows whose grant this would end; nobody has kept these tokens either.
        if (owner === null && provider.definition.kind !== 'oidc') return;
        if (owner !== null && (await this.#hasActive(provider, owner))) return;
      }
      if (issued.refreshToken !== null) await provider.revoke(issued.refreshToken, 'refresh_token');
      await provider.revoke(issued.accessToken, 'access_token');
    } catch {
      // The tokens expire by themselves; the failed login has been told already.
    }
  }

  /** Asked again while the database is away, which is why many a login fails; the end of a living grant is for good. */
  async #hasActive(provider: Provider, subject: string): Promise<boolean> {
    for (let pause = FIRST_PAUSE; ; pause *= 2) {
      try {
        return await this.grants.hasActive(provider.issuer, subject);
      } catch (error) {
        if (pause > LONGEST_PAUSE) throw error;
        await sleep(pause, undefined, { ref: false });
      }
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
