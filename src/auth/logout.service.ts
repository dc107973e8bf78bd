// Logging out: the local session first, then the provider if it has an end-session endpoint (OIDC RP-Initiated Logout).
import { Injectable } from '@nestjs/common';
import { randomToken } from '../crypto/random.js';
import { Sealer } from '../crypto/sealing.js';
import { idTokenContext } from '../grants/grant-sealing.js';
import { ResolvedOptions } from '../options/resolve-options.js';
import type { OAuthSession } from '../options/session.js';
import { ProviderRegistry } from '../providers/provider.registry.js';
import { BROWSER_COOKIE_MAX_AGE, serializeCookie } from '../sessions/cookies.js';
import type { EndedSession } from '../sessions/session.repository.js';
import { SessionService } from '../sessions/session.service.js';
import type { WebRequest } from '../sessions/web-request.js';

/** What a logout leaves to do for the browser. */
export interface FinishedLogout {
  readonly cookies: readonly string[];
  /** Where the browser should go on to at the provider; null when there is nothing to do there. */
  readonly logoutUrl: string | null;
}

/** Longest wait for the provider's metadata, milliseconds: without it the person is logged out here all the same. */
const PROVIDER_PATIENCE = 500;

/** Logs out. */
@Injectable()
export class LogoutService {
  constructor(
    private readonly sessions: SessionService,
    private readonly providers: ProviderRegistry,
    private readonly sealer: Sealer,
    private readonly options: ResolvedOptions,
  ) {}

  /** Ends the session of a request. Without one, only the cookies are cleared. */
  async logout(request: WebRequest): Promise<FinishedLogout> {
    const { session } = await this.sessions.ofRequest(request);
    const { secure } = this.options;
    return {
      logoutUrl: session && (await this.#end(session)),
      cookies: [
        // Also where a login has just replaced the cookie that came: the person asked to be logged out of this browser.
        serializeCookie('session', '', { secure, maxAge: 0 }),
        // What was pending in this browser must not be finished by whoever comes next.
        serializeCookie('browser', randomToken(), { secure, maxAge: BROWSER_COOKIE_MAX_AGE }),
      ],
    };
  }

  async #end(session: OAuthSession): Promise<string | null> {
    const ended = await this.sessions.endCurrent(session);
    return ended ? within(PROVIDER_PATIENCE, this.#logoutUrl(ended)).catch(() => null) : null;
  }

  /**
   * The provider's logout page. What comes back from there is our own configured address: nothing is read from that
   * request, so neither a missing nor a foreign `state` can do anything.
   */
  async #logoutUrl(ended: EndedSession): Promise<string | null> {
    if (!this.providers.has(ended.provider)) return null;
    const provider = this.providers.get(ended.provider);
    const hint = await this.#idToken(ended);
    const url = await provider.endSessionUrl({
      ...(hint === null ? {} : { id_token_hint: hint }),
      client_id: provider.definition.clientId,
      post_logout_redirect_uri: this.options.postLogoutRedirect,
      state: randomToken(),
    });
    return url?.href ?? null;
  }

  /** The last ID token; without its key the provider asks the person instead. */
  async #idToken({ id, id_token: sealed }: EndedSession): Promise<string | null> {
    return sealed === null ? null : this.sealer.open(idTokenContext(id), sealed).catch(() => null);
  }
}

function within<T>(milliseconds: number, promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const deadline = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error('too slow')), milliseconds);
  });
  return Promise.race([promise, deadline]).finally(() => clearTimeout(timer));
}
