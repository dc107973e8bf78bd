// A real Passport strategy: a subclass of passport-oauth2's, wired by @nestjs/passport, on a Passport of its own.
// authenticate() is overridden whole; every protocol step is openid-client's (see providers/).
import { Injectable } from '@nestjs/common';
import { PassportStrategy } from '@nestjs/passport';
import passport from 'passport';
import OAuth2Strategy, { type StrategyOptions, type VerifyFunction } from 'passport-oauth2';
import { OAuthError } from '../errors/oauth-error.js';
import { WebRequest } from '../sessions/web-request.js';
import { postedParameters } from './callback-body.js';
import { LoginAnswerer, type DuplicateLogin, type VerifiedLogin } from './login-answer.service.js';
import { type LoginStart, LoginStarter, type StartDemands } from './login-start.service.js';

/** Name under which the strategy is registered. */
export const STRATEGY_NAME = 'oauth';

/** Which half of the login to run, and for whom. */
export interface AuthenticateOptions {
  readonly phase: 'login' | 'callback';
  /** Name of the provider. */
  readonly provider: string;
  readonly demands?: StartDemands;
}

/** Never called: the parent class insists on endpoints, and a request to these would be seen at once. */
const UNUSED = {
  authorizationURL: 'https://unused.invalid/authorize',
  tokenURL: 'https://unused.invalid/token',
  clientID: 'unused',
  clientSecret: 'unused',
} satisfies StrategyOptions;

/** Sets what the mixin above reads before the fields of the strategy itself exist. */
class NamedStrategy extends OAuth2Strategy {
  override name: string;
  readonly passport: InstanceType<typeof passport.Passport>;

  constructor(options: StrategyOptions, verify: VerifyFunction) {
    super(options, verify);
    this.name = STRATEGY_NAME;
    this.passport = new passport.Passport();
  }
}

/** What this file uses of the parent class; see {@link Parent}. */
interface PassportFace {
  readonly name: string;
  readonly passport: object;
  authenticate(request: unknown, options?: unknown): void;
  redirect(url: string, start: LoginStart): void;
  success(login: VerifiedLogin | DuplicateLogin): void;
  error(error: unknown): void;
}

/**
 * The parent class, declared without the types of Passport: applications do not have them, and who has them is told by them
 * what `request.user` is.
 */
const Parent = PassportStrategy(NamedStrategy, STRATEGY_NAME, 5) as unknown as new (
  options: typeof UNUSED,
) => PassportFace;

/** The strategy behind all providers. Ends in `redirect` (login), `success` (callback) or `error`; never in `pass` or `fail`. */
@Injectable()
export class OAuthStrategy extends Parent {
  constructor(
    private readonly starter: LoginStarter,
    private readonly answerer: LoginAnswerer,
  ) {
    super(UNUSED);
  }

  /** A private Passport: two modules, tenants or tests never meet in the process-wide one. */
  getPassportInstance(): object {
    return this.passport;
  }

  /** Passport's entry. */
  override authenticate(request: unknown, options?: unknown): void {
    this.run(new WebRequest(request), options as AuthenticateOptions).catch((error: unknown) => this.error(error));
  }

  /** Part of the mixin's contract; the stock callback path that would call it is never taken. */
  validate(): never {
    throw new OAuthError('server_error', { cause: new Error('the stock path of passport-oauth2 was reached') });
  }

  // Not a #private member: Passport runs an object derived from this one, which has none.
  private async run(request: WebRequest, options: AuthenticateOptions): Promise<void> {
    if (options.phase === 'login') {
      const start: LoginStart = await this.starter.begin(request, options.provider, options.demands);
      this.redirect(start.location, start);
      return;
    }
    const encoded = request.method === 'POST' ? await postedParameters(request) : request.queryString;
    const verified: VerifiedLogin | DuplicateLogin = await this.answerer.verify(request, options.provider, encoded);
    this.success(verified);
  }
}
