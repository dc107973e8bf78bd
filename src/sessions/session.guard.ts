// Denies by default: only a live session, or @Public(), opens a handler. Any exception denies.
import { type CanActivate, type ExecutionContext, Injectable } from '@nestjs/common';
import { OAuthError } from '../errors/oauth-error.js';
import { AuthUrls } from '../options/auth-urls.service.js';
import { ResolvedOptions } from '../options/resolve-options.js';
import { attach } from './attached.js';
import { isRefusedForeign } from './cross-site.js';
import { type Policy, policyOf } from './policy.js';
import { keepPrivate } from './private-answer.js';
import { requestOf, responseOf } from './request-context.js';
import { type RequestSession, SessionService } from './session.service.js';
import { StepUp } from './step-up.service.js';
import type { WebRequest } from './web-request.js';

/**
 * Lets a request pass only with a live session. Use it on controllers, gateways and handlers, or for
 * HTTP and GraphQL globally by `APP_GUARD`.
 * Throws `OAuthError`: `unauthenticated`, `cross_site`, `database_unavailable`; `user_gone` or
 * `user_unavailable` where the option `loadUser` says so; `insufficient_scope`, `step_up_required` or
 * `insufficient_authentication` where the handler demands more.
 */
@Injectable()
export class SessionGuard implements CanActivate {
  constructor(
    private readonly sessions: SessionService,
    private readonly options: ResolvedOptions,
    private readonly urls: AuthUrls,
    private readonly stepUp: StepUp,
  ) {}

  canActivate(context: ExecutionContext): boolean | Promise<boolean> {
    const policy = policyOf(context.getHandler(), context.getClass());
    if (policy.open) return true;
    const request = requestOf(context);
    if (!request) throw new OAuthError('unauthenticated');
    try {
      return this.#judge(context, request, policy);
    } finally {
      // While the database is asked: its answer comes in a later turn, and with it the handler.
      keepPrivate(responseOf(context));
    }
  }

  #judge(context: ExecutionContext, request: WebRequest, policy: Policy): boolean | Promise<boolean> {
    // Whatever the context: operations of GraphQL come over sockets too.
    const handshake = request.isHandshake || context.getType() === 'ws';
    if ((handshake || !request.isSafe) && isRefusedForeign(request, this.options, { handshake }))
      throw new OAuthError('cross_site');
    return policy.plain && !this.options.loadUser
      ? this.sessions.answer<boolean>(request, (answer) => this.#admit(request, answer))
      : this.#admitSlowly(request, policy);
  }

  #admit(request: WebRequest, { session, stale }: RequestSession): boolean | Promise<boolean> {
    if (!session) return this.#refuse(request, stale);
    attach(request.native, session, session.user);
    return true;
  }

  async #refuse(request: WebRequest, stale: boolean): Promise<never> {
    throw new OAuthError('unauthenticated', {
      clearSession: stale && !(await this.sessions.isReplaced(request)),
      loginUrl: this.urls.loginBackTo(request.landingBelow(this.urls.basePath)),
    });
  }

  /** With what the handler demands and the application says, in the context of its own request. */
  async #admitSlowly(request: WebRequest, policy: Policy): Promise<boolean> {
    const { session, stale } = await this.sessions.ofRequest(request);
    if (!session) return this.#refuse(request, stale);
    if (!policy.plain) await this.stepUp.enforce(session, policy, request.landingBelow(this.urls.basePath));
    attach(request.native, session, await this.sessions.userOf(session));
    return true;
  }
}
