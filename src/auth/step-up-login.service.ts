// A login that is to make a session fresher or stronger: what it asks, and whether it was the same person.
import { Injectable } from '@nestjs/common';
import { OAuthError } from '../errors/oauth-error.js';
import { recordOf } from '../sessions/oauth-session.js';
import { SessionService } from '../sessions/session.service.js';
import { StepUp } from '../sessions/step-up.service.js';
import type { WebRequest } from '../sessions/web-request.js';
import type { VerifiedLogin } from '../strategy/login-answer.service.js';
import { singleParameters, type StartDemands } from '../strategy/login-start.service.js';

/** Tolerated age of an authentication beyond what was demanded, seconds: the login itself takes a moment. */
const LEEWAY = 5;

/** The step-up half of logins. */
@Injectable()
export class StepUpLogin {
  constructor(
    private readonly stepUp: StepUp,
    private readonly sessions: SessionService,
  ) {}

  /** What `/login` asks for besides the configuration, when the guard sent the person there; otherwise null. */
  async demandsOf(request: WebRequest, provider: string): Promise<StartDemands | null> {
    const sealed = singleParameters(request.queryString).get('step_up');
    if (sealed === undefined) return null;
    const { session } = await this.sessions.ofRequest(request);
    const demands = await this.stepUp.demandsOf(provider, sealed, session);
    if (!demands) return null;
    return {
      ...demands,
      intent: 'step_up',
      // A provider that still knows the person would otherwise answer at once with the old authentication.
      ...(demands.maxAge === undefined ? {} : { prompt: 'login' }),
    };
  }

  /**
   * The session that a step-up or link began in, if this request still has it and the application its user.
   * @throws {OAuthError} `invalid_state`, and as {@link SessionService.userOf}
   */
  async bound(request: WebRequest, { attempt }: VerifiedLogin): ReturnType<SessionService['find']> {
    const { session } = await this.sessions.ofRequest(request);
    if (session?.id !== attempt.pending.sessionId)
      throw new OAuthError('invalid_state', {
        provider: attempt.provider.name,
        cause: new Error('the session that began this has ended, or another one is here'),
      });
    // Asked when it began, too; a person at the provider takes minutes, in which the user may go.
    await this.sessions.userOf(session);
    return session;
  }

  /**
   * Checks a verified step-up: same session, same person, and really as fresh as demanded.
   * @throws {OAuthError} `invalid_state`, `account_conflict`, `insufficient_authentication`
   */
  async assert(request: WebRequest, login: VerifiedLogin): Promise<void> {
    const { attempt, identity } = login;
    if (attempt.pending.intent !== 'step_up') return;
    const session = await this.bound(request, login);
    const record = session && recordOf(session);
    const provider = attempt.provider.name;
    if (record?.issuer !== identity.issuer || record.subject !== identity.subject)
      throw new OAuthError('account_conflict', { provider, cause: new Error('somebody else answered the step-up') });
    const { maxAge } = attempt.pending;
    // The protocol tolerates clocks that differ; here that would lead round in circles between guard and provider.
    if (
      maxAge !== undefined &&
      !(identity.authTime && Date.now() - identity.authTime.getTime() <= (maxAge + LEEWAY) * 1000)
    )
      throw new OAuthError('insufficient_authentication', { provider, cause: new Error('"auth_time" is too old') });
  }
}
