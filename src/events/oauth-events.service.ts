// What happened, for logs, metrics and alarms: typed, without secrets, and a failing listener disturbs nobody.
import { Injectable, Logger } from '@nestjs/common';
import type { OAuthErrorCode } from '../errors/error-codes.js';
import { printableJson } from '../errors/one-line.js';

/** Events by name, and what each carries. Ids are uuids of our rows; nothing here is a secret. */
export interface OAuthEventMap {
  /** A login finished. */
  login: {
    provider: string;
    issuer: string;
    subject: string;
    userId: string;
    accountId: string;
    sessionId: string;
    firstLogin: boolean;
  };
  /** A login failed. `reason` names the cause for operators and holds no text of the provider. */
  loginFailed: { provider: string; code: OAuthErrorCode; reason: string; correlationId?: string };
  /** Sessions were ended. */
  logout: {
    userId: string | null;
    sessionIds: readonly string[];
    by: 'user' | 'other-session' | 'provider' | 'application' | 'security' | 'replaced';
  };
  /** Another identity was connected to a user. */
  linked: { provider: string; userId: string; accountId: string };
  /** An identity was disconnected. */
  unlinked: { provider: string; userId: string; accountId: string };
  /** An access token was refreshed; `rotated` when the refresh token changed with it. */
  refreshed: { provider: string; grantId: string; rotated: boolean; durationMs: number };
  /** A refresh failed without ending the grant. */
  refreshFailed: { provider: string; grantId: string; code: OAuthErrorCode; reason: string };
  /** The provider no longer accepts a grant: its user must connect again. Sent once per grant. */
  reauthRequired: { provider: string; grantId: string; accountId: string; reason: string };
  /** An API answered 401 to a body that cannot be sent twice: the token was renewed, the request was not repeated. */
  retrySkipped: { provider: string; grantId: string };
  /** A token was revoked at the provider. */
  revoked: { provider: string };
  /** A refresh answered with an ID token of somebody else: tokens discarded, sessions ended. A security event. */
  subjectMismatch: { provider: string; grantId: string; accountId: string };
  /** The provider cannot be reached or misbehaves; sent when its breaker opens. */
  providerUnavailable: { provider: string; reason: string };
  /** The provider works again. */
  providerRecovered: { provider: string };
  /** The operator must act: client credentials refused, encryption key missing, … */
  alarm: { code: string; message: string; provider?: string };
}

/** How loud an event is in the log, where it is more than detail. */
const LEVELS: Partial<Record<keyof OAuthEventMap, 'error' | 'warn'>> = {
  alarm: 'error',
  subjectMismatch: 'error',
  loginFailed: 'warn',
  reauthRequired: 'warn',
  refreshFailed: 'warn',
  providerUnavailable: 'warn',
  retrySkipped: 'warn',
};

type Listener<Name extends keyof OAuthEventMap> =
  ((event: OAuthEventMap[Name]) => void) | ((event: OAuthEventMap[Name]) => Promise<void>);

/** Emits typed events. Inject it and call {@link on}. */
@Injectable()
export class OAuthEvents {
  readonly #logger = new Logger('OAuth');
  readonly #listeners = new Map<keyof OAuthEventMap, Set<Listener<never>>>();

  /** Calls `listener` for each event of this name. @returns a function that ends it */
  on<Name extends keyof OAuthEventMap>(name: Name, listener: Listener<Name>): () => void {
    const listeners = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, listeners);
    listeners.add(listener);
    return () => void listeners.delete(listener);
  }

  /** Tells every listener, in order, and waits for none. Listeners that throw or reject are logged and do not stop anything. */
  emit<Name extends keyof OAuthEventMap>(name: Name, event: OAuthEventMap[Name]): void {
    this.log(name, event);
    for (const listener of this.#listeners.get(name) ?? []) {
      try {
        // What rejects later is nobody else's either: unheard, it would end the process. It may be any library's promise.
        Promise.resolve((listener as Listener<Name>)(event)).catch((error: unknown) => this.#failed(name, error));
      } catch (error) {
        this.#failed(name, error);
      }
    }
  }

  #failed(name: keyof OAuthEventMap, error: unknown): void {
    this.#logger.error(`a listener of "${name}" failed: ${error instanceof Error ? error.message : 'unknown error'}`);
  }

  private log(name: keyof OAuthEventMap, event: object): void {
    // Subjects come from providers: nothing in them may reach a terminal as a command. Whether anybody reads the line is for the
    // logger to say: `Logger.isLevelEnabled()` answers no on Nest 11 where no levels were set, and knows nothing of loggers that
    // are not Nest's.
    this.#logger[LEVELS[name] ?? 'debug'](`${name} ${printableJson(event)}`);
  }
}
