// The second half of a login, up to knowing who it is. The order of checks is fixed: shape, state and browser, provider,
// iss, error or code, token request, ID token, userinfo (RFC 9700 §4.7, RFC 9207).
import { Injectable } from '@nestjs/common';
import { randomId } from '../crypto/random.js';
import { OAuthError } from '../errors/oauth-error.js';
import { OAuthEvents } from '../events/oauth-events.service.js';
import { GrantRepository } from '../grants/grant.repository.js';
import { AuthUrls } from '../options/auth-urls.service.js';
import { ResolvedOptions } from '../options/resolve-options.js';
import type { Identity } from '../providers/identity.js';
import type { Provider } from '../providers/provider.js';
import { ProviderRegistry } from '../providers/provider.registry.js';
import type { TokenSet } from '../providers/token-set.js';
import type { WebRequest } from '../sessions/web-request.js';
import { type PendingLogin, StateService } from '../state/state.service.js';
import { authorizationError } from './authorization-errors.js';
import { type CallbackParameters, callbackParameters } from './callback-parameters.js';

/** An attempt whose state is used up: from here on, a failure must be noted and what was issued revoked. */
export interface LoginAttempt {
  readonly provider: Provider;
  readonly pending: PendingLogin;
  /** Tokens as soon as they exist. */
  issued: { accessToken: string; refreshToken: string | null } | null;
  /** Known once the ID token or profile was believed. */
  subject: string | null;
}

/** A login that the provider vouches for. */
export interface VerifiedLogin {
  readonly attempt: LoginAttempt;
  readonly tokens: TokenSet;
  readonly identity: Identity;
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
    private readonly grants: GrantRepository,
    private readonly urls: AuthUrls,
    private readonly events: OAuthEvents,
    private readonly options: ResolvedOptions,
  ) {}

  /** Judges a callback. @param encoded query string or form body, as received */
  async verify(request: WebRequest, providerName: string, encoded: string): Promise<VerifiedLogin | DuplicateLogin> {
    const provider = this.providers.get(providerName);
    const parameters = callbackParameters(encoded);
    const { state } = parameters;
    if (state === undefined)
      throw new OAuthError('invalid_request', {
        provider: provider.name,
        cause: new Error('callback: "state" is missing'),
      });
    const browser = request.cookie('browser', this.options.secure);
    if (!browser.present)
      throw new OAuthError('cookies_blocked', { provider: provider.name, loginUrl: this.urls.login(provider.name) });
    const binding = { state, browser: browser.value, provider: provider.name };
    const pending = await this.states.consume(binding);
    if (!pending) return { landedAt: await this.#landingOfFirst(binding) };
    const attempt: LoginAttempt = { provider, pending, issued: null, subject: null };
    return this.guarded(attempt, () => this.#redeem(attempt, parameters, state));
  }

  /** Runs a step of an attempt; when it fails, the attempt ends: noted, revoked, told. */
  async guarded<T>(attempt: LoginAttempt, step: () => Promise<T>): Promise<T> {
    try {
      return await step();
    } catch (error) {
      const failure = error instanceof OAuthError ? error : new OAuthError('server_error', { cause: error });
      const { provider, pending } = attempt;
      await this.states.fail(pending.stateHash, failure.code);
      if (attempt.issued) void this.#revoke(attempt);
      const reason = failure.cause instanceof Error ? failure.cause.message : failure.message;
      this.events.emit('loginFailed', {
        provider: provider.name,
        code: failure.code,
        reason: printable(reason),
        correlationId: randomId(),
      });
      if (failure.code === 'client_rejected') {
        this.events.emit('alarm', {
          code: failure.code,
          provider: provider.name,
          message: `provider "${provider.name}" refuses this client; check its credentials`,
        });
      }
      throw failure;
    }
  }

  async #landingOfFirst(binding: { state: string; browser: string | null; provider: string }): Promise<string> {
    try {
      return await this.states.outcomeOfFirst(binding);
    } catch (error) {
      if (!(error instanceof OAuthError)) throw error;
      throw new OAuthError(error.code, {
        provider: binding.provider,
        loginUrl: this.urls.login(binding.provider),
        cause: error.cause,
      });
    }
  }

  async #redeem(attempt: LoginAttempt, parameters: CallbackParameters, state: string): Promise<VerifiedLogin> {
    const { provider, pending } = attempt;
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
    return { attempt, tokens: answer.tokens, identity };
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
      if (
        provider.definition.revocation === 'grant' &&
        subject !== null &&
        (await this.grants.hasActive(provider.issuer, subject).catch(() => false))
      )
        return;
      if (issued.refreshToken !== null) await provider.revoke(issued.refreshToken, 'refresh_token');
      await provider.revoke(issued.accessToken, 'access_token');
    } catch {
      // The tokens expire by themselves; the failed login has been told already.
    }
  }
}

/** A reason for the log: one bounded line without control characters. */
function printable(text: string): string {
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, ' ').slice(0, 200);
}
