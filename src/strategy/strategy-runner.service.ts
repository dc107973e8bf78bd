// Runs the strategy as Passport does, but settles after a redirect and touches no response: works on Express and Fastify.
import { Injectable } from '@nestjs/common';
import { OAuthError } from '../errors/oauth-error.js';
import type { WebRequest } from '../sessions/web-request.js';
import type { DuplicateLogin, VerifiedLogin } from './login-answer.service.js';
import type { LoginStart } from './login-start.service.js';
import { type AuthenticateOptions, OAuthStrategy, STRATEGY_NAME } from './oauth.strategy.js';

/** How a strategy run ended. */
export type StrategyOutcome =
  { kind: 'redirect'; start: LoginStart } | { kind: 'success'; login: VerifiedLogin | DuplicateLogin };

/** The members of a strategy that Passport augments for one request. */
interface RunningStrategy {
  authenticate(request: unknown, options: AuthenticateOptions): void;
  redirect(url: string, start: LoginStart): void;
  success(login: VerifiedLogin | DuplicateLogin): void;
  fail(): void;
  pass(): void;
  error(error: unknown): void;
}

/** Runs the registered strategy for one request. */
@Injectable()
export class StrategyRunner {
  constructor(private readonly strategy: OAuthStrategy) {}

  /** @throws {OAuthError} whatever made the strategy end in `error` or `fail` */
  run(request: WebRequest, options: AuthenticateOptions): Promise<StrategyOutcome> {
    const registered = (
      this.strategy.getPassportInstance() as unknown as { _strategy(name: string): object }
    )._strategy(STRATEGY_NAME);
    return new Promise((resolve, reject) => {
      const running = Object.create(registered) as RunningStrategy;
      running.redirect = (_url, start) => resolve({ kind: 'redirect', start });
      running.success = (login) => resolve({ kind: 'success', login });
      running.error = reject;
      running.fail = running.pass = () =>
        reject(new OAuthError('server_error', { cause: new Error('the strategy ended without an answer') }));
      running.authenticate(request.native, options);
    });
  }
}
