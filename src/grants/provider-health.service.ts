// A breaker per provider: after several failures in a row nobody asks it for a while, then one request tries.
// While it is open nothing is retried and nobody is condemned.
import { Injectable } from '@nestjs/common';
import { OAuthError } from '../errors/oauth-error.js';
import { OAuthEvents } from '../events/oauth-events.service.js';
import { ProviderError } from '../providers/provider-fault.js';

/** Failures in a row that open it. */
const THRESHOLD = 5;
/** First and longest pause, milliseconds; it doubles with each failed trial. */
const FIRST_PAUSE = 1_000;
const MAX_PAUSE = 30_000;
/** Pause after the provider refused our own credentials: only the operator can mend that. */
const REJECTED_PAUSE = 30_000;
/** A trial that never ended no longer counts after this. */
const TRIAL_PATIENCE = 60_000;

interface Health {
  failures: number;
  /** Monotonic milliseconds; 0 while closed. */
  openUntil: number;
  pause: number;
  trialSince: number;
  rejected: boolean;
  /** The last two grants that succeeded, and when: enough to know of a success of another grant. */
  successes: { grantId: string; at: number }[];
}

/** Knows which providers answer. */
@Injectable()
export class ProviderHealth {
  readonly #health = new Map<string, Health>();

  constructor(private readonly events: OAuthEvents) {}

  /** True while requests are let through freely. */
  isClosed(provider: string): boolean {
    return this.#of(provider).openUntil === 0;
  }

  /**
   * Fails at once while the breaker is open.
   * @throws {OAuthError} `provider_unavailable` (or `client_rejected`) with `retryAfter`
   */
  assertAdmitted(provider: string): void {
    const health = this.#of(provider);
    const left = health.openUntil - performance.now();
    if (health.openUntil === 0 || (left <= 0 && !this.#isTrying(health))) return;
    throw new OAuthError(health.rejected ? 'client_rejected' : 'provider_unavailable', {
      provider,
      retryAfter: Math.max(1, Math.ceil(left / 1000)),
      cause: new Error(`"${provider}" failed repeatedly and is left alone for a moment`),
    });
  }

  /** As {@link assertAdmitted}, and makes the caller the one who tries when it is half open. Report how it went. */
  admit(provider: string): void {
    this.assertAdmitted(provider);
    const health = this.#of(provider);
    if (health.openUntil !== 0) health.trialSince = performance.now();
  }

  /** The provider answered as it should, if only with a refusal. */
  answered(provider: string, grantId?: string): void {
    const health = this.#of(provider);
    const wasOpen = health.openUntil !== 0;
    Object.assign(health, { failures: 0, openUntil: 0, pause: FIRST_PAUSE, trialSince: 0, rejected: false });
    if (grantId !== undefined) {
      const others = health.successes.filter((success) => success.grantId !== grantId);
      health.successes = [...others, { grantId, at: performance.now() }].slice(-2);
    }
    if (wasOpen) this.events.emit('providerRecovered', { provider });
  }

  /** The provider failed. @returns true when this opened the breaker */
  failed(provider: string, error: ProviderError): boolean {
    const health = this.#of(provider);
    const rejected = error.code === 'client_rejected';
    health.failures += 1;
    health.trialSince = 0;
    const wasOpen = health.openUntil !== 0;
    if (!wasOpen && !rejected && health.failures < THRESHOLD) return false;
    const asked = Math.min(error.askedToWait ?? 0, 300) * 1000;
    const pause = Math.max(rejected ? REJECTED_PAUSE : health.pause * (0.75 + Math.random() / 2), asked);
    health.openUntil = performance.now() + pause;
    health.pause = Math.min(MAX_PAUSE, health.pause * 2);
    health.rejected = rejected;
    if (wasOpen) return false;
    this.events.emit('providerUnavailable', { provider, reason: reasonOf(error) });
    return true;
  }

  /** The trial ended without reaching the provider. */
  untried(provider: string): void {
    this.#of(provider).trialSince = 0;
  }

  /** True when another grant was refreshed there since then. @param since monotonic milliseconds */
  othersSucceeded(provider: string, grantId: string, since: number): boolean {
    return this.#of(provider).successes.some((success) => success.grantId !== grantId && success.at >= since);
  }

  #isTrying(health: Health): boolean {
    return health.trialSince !== 0 && performance.now() - health.trialSince < TRIAL_PATIENCE;
  }

  #of(provider: string): Health {
    let health = this.#health.get(provider);
    if (!health) {
      health = { failures: 0, openUntil: 0, pause: FIRST_PAUSE, trialSince: 0, rejected: false, successes: [] };
      this.#health.set(provider, health);
    }
    return health;
  }
}

/** What went wrong, in our words or by the standard error code; never the provider's text. */
export function reasonOf(error: OAuthError): string {
  const { oauthError } = error as Partial<ProviderError>;
  return oauthError ?? (error.cause instanceof Error ? error.cause.message : error.code);
}
