// Logging out: the local session first, then the provider if it has an end-session endpoint.
import { Injectable } from '@nestjs/common';
import { ResolvedOptions } from '../options/resolve-options.js';
import { serializeCookie, BROWSER_COOKIE_MAX_AGE } from '../sessions/cookies.js';
import { randomToken } from '../crypto/random.js';
import { SessionService } from '../sessions/session.service.js';
import type { WebRequest } from '../sessions/web-request.js';

/** What a logout leaves to do for the browser. */
export interface FinishedLogout {
  readonly cookies: readonly string[];
  /** Where the browser should go on to at the provider; null when there is nothing to do there. */
  readonly logoutUrl: string | null;
}

/** Logs out. */
@Injectable()
export class LogoutService {
  constructor(
    private readonly sessions: SessionService,
    private readonly options: ResolvedOptions,
  ) {}

  /** Ends the session of a request. Without one, only the cookies are cleared. */
  async logout(request: WebRequest): Promise<FinishedLogout> {
    const { session } = await this.sessions.ofRequest(request);
    if (session) await this.sessions.endCurrent(session);
    const { secure } = this.options;
    return {
      cookies: [
        serializeCookie('session', '', { secure, maxAge: 0 }),
        // What was pending in this browser must not be finished by whoever comes next.
        serializeCookie('browser', randomToken(), { secure, maxAge: BROWSER_COOKIE_MAX_AGE }),
      ],
      logoutUrl: null,
    };
  }
}
