// Connecting another identity to the logged-in user: begun by a POST from a live, recent session, bound to it, and
// checked again when the provider has answered (never implicitly, never by e-mail).
import { Injectable } from '@nestjs/common';
import { sha256 } from '../crypto/digest.js';
import { randomId, randomToken } from '../crypto/random.js';
import { Sealer } from '../crypto/sealing.js';
import { Database } from '../database/database.service.js';
import { identityLocks } from '../database/identity-locks.js';
import { OAuthError } from '../errors/oauth-error.js';
import { OAuthEvents } from '../events/oauth-events.service.js';
import { idTokenContext } from '../grants/grant-sealing.js';
import { ResolvedOptions } from '../options/resolve-options.js';
import type { OAuthSession } from '../options/session.js';
import { serializeCookie } from '../sessions/cookies.js';
import { recordOf } from '../sessions/oauth-session.js';
import { StepUp } from '../sessions/step-up.service.js';
import type { WebRequest } from '../sessions/web-request.js';
import { stillSafe } from '../state/return-to.js';
import { LoginAnswerer, type VerifiedLogin } from '../strategy/login-answer.service.js';
import { type LoginStart, LoginStarter } from '../strategy/login-start.service.js';
import { StrategyRunner } from '../strategy/strategy-runner.service.js';
import { LinkRepository } from './link.repository.js';
import { LoginPreparer } from './login-preparer.service.js';
import { loginRefusal } from './login-refusal.js';
import { LoginRepository } from './login.repository.js';
import type { FinishedLogin } from './login.service.js';
import { StepUpLogin } from './step-up-login.service.js';

/** A session may connect identities for this long after the person logged in. Seconds. */
export const LINK_MAX_AGE = 600;

/** Connects identities. */
@Injectable()
export class LinkService {
  constructor(
    private readonly strategy: StrategyRunner,
    private readonly answerer: LoginAnswerer,
    private readonly starter: LoginStarter,
    private readonly preparer: LoginPreparer,
    private readonly logins: LoginRepository,
    private readonly links: LinkRepository,
    private readonly stepUp: StepUp,
    private readonly stepUps: StepUpLogin,
    private readonly database: Database,
    private readonly sealer: Sealer,
    private readonly events: OAuthEvents,
    private readonly options: ResolvedOptions,
  ) {}

  /**
   * Begins a link.
   * @throws {OAuthError} `step_up_required` when the login was too long ago
   */
  async begin(request: WebRequest, provider: string, session: OAuthSession): Promise<LoginStart> {
    if (!this.stepUp.isRecent(session, LINK_MAX_AGE))
      throw await this.stepUp.required(session, { maxAge: LINK_MAX_AGE }, '/');
    const demands = { intent: 'link' as const, sessionId: session.id };
    const outcome = await this.strategy.run(request, { phase: 'login', provider, demands });
    if (outcome.kind !== 'redirect') throw new OAuthError('server_error');
    return outcome.start;
  }

  /** Connects the identity that answered. A failure leaves no trace but the consumed state, and revokes what was issued. */
  finish(request: WebRequest, login: VerifiedLogin): Promise<FinishedLogin> {
    return this.answerer.guarded(login.attempt, () => this.#finish(request, login));
  }

  async #finish(request: WebRequest, login: VerifiedLogin): Promise<FinishedLogin> {
    const { identity, attempt } = login;
    const provider = attempt.provider.name;
    const session = (await this.stepUps.bound(request, login))!;
    const [token, newId] = [randomToken(), randomId()];
    const [prepared, idToken] = await Promise.all([
      this.preparer.prepare(request, login, { userId: session.user.id, token: randomToken(), bound: 'account' }),
      this.#resealed(session.id, newId),
    ]);
    // Also those of the session's own identity: whoever ends it waits, and then finds it under its new id.
    const locks = identityLocks(recordOf(session)!, identity);
    const { accountId, seconds } = await this.database.transaction(locks, async (tx) => {
      const result = await this.logins.write(tx, { ...prepared, oldTokenHash: null });
      if (result.session_seconds === null) throw loginRefusal(result, provider);
      await this.links.discardSession(tx, prepared.session.id);
      const left = await this.links.rotate(tx, {
        ...{ id: session.id, newId, tokenHash: sha256(token), idToken },
        stateHash: prepared.stateHash,
      });
      if (left === undefined)
        throw new OAuthError('invalid_state', { provider, cause: new Error('the session has ended meanwhile') });
      return { accountId: result.account_id!, seconds: left };
    });
    this.events.emit('logout', { userId: session.user.id, sessionIds: [session.id], by: 'replaced' });
    this.events.emit('linked', { provider, userId: session.user.id, accountId });
    return {
      returnTo: stillSafe(attempt.pending.returnTo, this.starter.returnToPolicy),
      cookies: [serializeCookie('session', token, { secure: this.options.secure, maxAge: seconds })],
    };
  }

  /** The session's ID token, sealed for the id that it will have. */
  async #resealed(sessionId: string, newId: string): Promise<string | null> {
    const sealed = await this.links.idTokenOf(sessionId);
    if (sealed === null) return null;
    return this.sealer.seal(idTokenContext(newId), await this.sealer.open(idTokenContext(sessionId), sealed));
  }
}
