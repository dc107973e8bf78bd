// Sessions for guards, controllers and applications: find, list, end.
import { Injectable } from '@nestjs/common';
import type { Observable } from 'rxjs';
import { sha256 } from '../crypto/digest.js';
import { isId } from '../crypto/random.js';
import { asDate } from '../database/as-date.js';
import { OAuthError } from '../errors/oauth-error.js';
import { AuthUrls } from '../options/auth-urls.service.js';
import type { OAuthAppUser, OAuthUser } from '../options/login.js';
import { ResolvedOptions } from '../options/resolve-options.js';
import type { OAuthSession } from '../options/session.js';
import { recordOf, sessionOf } from './oauth-session.js';
import { type EndReason, SessionEnder } from './session-ender.service.js';
import { SessionEnds } from './session-ends.service.js';
import { SessionLookup } from './session-lookup.js';
import type { FoundSession } from './session-record.js';
import { SessionTouches } from './session-touches.js';
import { type EndedSession, type LastingKey, SessionRepository } from './session.repository.js';
import type { WebRequest } from './web-request.js';

/** One line of a user's list of sessions ("your devices"). */
export interface SessionSummary {
  readonly id: string;
  readonly provider: string;
  readonly createdAt: Date;
  readonly lastSeenAt: Date;
  readonly expiresAt: Date;
  readonly ip: string | null;
  readonly userAgent: string | null;
  /** True for the session that asks. */
  readonly current: boolean;
}

/** What a request's cookie says. */
export interface RequestSession {
  readonly session: OAuthSession | null;
  /** A session cookie came with the request but stands for no live session. */
  readonly stale: boolean;
}

/** Most questions at once whether a dead cookie was replaced: whoever sends many must not take the pool from others. */
const MAX_ASKING = 3;

/** Finds, lists and ends sessions. */
@Injectable()
export class SessionService {
  #asking = 0;

  constructor(
    private readonly sessions: SessionRepository,
    private readonly lookup: SessionLookup,
    private readonly touches: SessionTouches,
    private readonly watch: SessionEnds,
    private readonly ender: SessionEnder,
    private readonly options: ResolvedOptions,
    private readonly urls: AuthUrls,
  ) {}

  /**
   * The live session of a request: one query at most, shared with other requests of the same moment.
   * @throws {OAuthError} `database_unavailable`
   */
  async ofRequest(request: WebRequest): Promise<RequestSession> {
    return this.answer(request, (answer) => answer);
  }

  /**
   * Like {@link ofRequest}, for the way of every guarded request: without a promise between the answer and its use. Nothing
   * of the application's may be called in `use`, which may run in the context of another request.
   */
  answer<T>(request: WebRequest, use: (answer: RequestSession) => T | Promise<T>): T | Promise<T> {
    const { value, present } = request.cookie('session', this.options.secure);
    if (value === null) return use({ session: null, stale: present });
    return this.lookup.find(value, (found) => use(this.#used(found)));
  }

  /**
   * The live session of a request that must have one, and must come from our own pages if it changes anything.
   * @throws {OAuthError} `cross_site`, `unauthenticated`, `database_unavailable`, and as {@link userOf}
   */
  async required(request: WebRequest): Promise<OAuthSession> {
    if (!request.isSafe && request.isForeign(this.options.origin)) throw new OAuthError('cross_site');
    const { session, stale } = await this.ofRequest(request);
    if (!session) throw new OAuthError('unauthenticated', { clearSession: stale && !(await this.isReplaced(request)) });
    if (this.options.loadUser) await this.userOf(session);
    return session;
  }

  /**
   * True when the dead session cookie of a request was replaced by a login of the same browser a moment ago. The request
   * is refused all the same, but clearing the cookie, which goes by its name, would log out the session that came after.
   */
  async isReplaced(request: WebRequest): Promise<boolean> {
    const { secure } = this.options;
    const [dead, browser] = [request.cookie('session', secure).value, request.cookie('browser', secure).value];
    if (dead === null || browser === null) return false;
    // Whoever cannot tell clears nothing: the next request will.
    if (this.#asking >= MAX_ASKING) return true;
    this.#asking++;
    try {
      return await this.sessions.wasReplaced(sha256(dead), sha256(browser));
    } catch {
      return true;
    } finally {
      this.#asking--;
    }
  }

  /**
   * The user of a session as the application knows it: what `loadUser` says, else the session's own.
   * @throws {OAuthError} `user_gone`, `user_unavailable`
   */
  async userOf(session: OAuthSession): Promise<OAuthAppUser> {
    const { loadUser } = this.options;
    if (!loadUser) return session.user;
    try {
      const user = await loadUser(session.user, session);
      // Strategies of Passport say `false` for nobody; whatever else is no user lets nobody in either.
      if (user) return user;
    } catch (error) {
      throw error instanceof OAuthError ? error : new OAuthError('user_unavailable', { cause: error });
    }
    throw new OAuthError('user_gone', { loginUrl: this.urls.login() });
  }

  /** A live session by its id, or null. */
  async find(id: string): Promise<OAuthSession | null> {
    const found = isId(id) ? await this.lookup.findById(id) : null;
    return found && sessionOf(found);
  }

  /** Ids of sessions that ended: all that end in this process, and those of {@link ends} that end elsewhere or expire. */
  get ended$(): Observable<string> {
    return this.watch.ended$;
  }

  /**
   * Emits once and completes when a session has ended, wherever that happens; for connections that outlive their
   * request: `return stream$.pipe(takeUntil(sessions.ends(session).pipe(endWith(undefined))))` in an `@Sse()` handler. It
   * completes without a value when the application shuts down; `endWith` ends the stream then, too, for which the server
   * would wait.
   */
  ends(session: OAuthSession): Observable<void> {
    return this.watch.ends(session);
  }

  /** The user's live sessions, the latest first. @param current the session that asks, if one does */
  async list(user: OAuthUser | string, current?: OAuthSession): Promise<SessionSummary[]> {
    const rows = await this.sessions.list(userIdOf(user));
    return rows.map((row) => ({
      id: row.id,
      provider: row.provider,
      createdAt: asDate(row.created_at),
      lastSeenAt: asDate(row.last_seen_at),
      expiresAt: asDate(row.expires_at),
      ip: row.ip,
      userAgent: row.user_agent,
      current: row.id === current?.id,
    }));
  }

  /** Ends one session of a user. @returns false when the user has no such session */
  async end(user: OAuthUser | string, id: string, by: EndReason = 'application'): Promise<boolean> {
    if (!isId(id)) return false;
    const found = await this.sessions.identities({ userId: userIdOf(user), only: id });
    return (await this.ender.end(found, by)).length > 0;
  }

  /**
   * Ends all sessions of a user, at once and everywhere. A login that `onLogin` has let pass just before may still finish:
   * whoever must stay out is refused by `loadUser` as well.
   * @param options.except a session that may stay
   * @returns how many ended
   */
  async endAll(user: OAuthUser | string, options: { except?: OAuthSession; by?: EndReason } = {}): Promise<number> {
    const { except, by = 'application' } = options;
    const where = { userId: userIdOf(user), ...(except ? { except: except.id } : {}) };
    const kept = except && recordOf(except);
    // A link may have given the one that stays another id.
    const isKept = ({ account_id, created_at }: LastingKey): boolean =>
      kept?.account_id === account_id && kept.created_at === created_at;
    return this.ender.endAll(async () => (await this.sessions.identities(where)).filter((found) => !isKept(found)), by);
  }

  /** Ends all sessions that logged in with one account. @returns how many ended */
  async endAllOfAccount(accountId: string, by: EndReason = 'application'): Promise<number> {
    if (!isId(accountId)) return 0;
    return this.ender.endAll(() => this.sessions.identities({ accountId }), by);
  }

  /** Ends the session of a request, and its grant when nothing else needs it. @returns what is needed to log out at the provider */
  async endCurrent(session: OAuthSession): Promise<EndedSession | undefined> {
    const record = recordOf(session) ?? (await this.lookup.findById(session.id))?.record;
    if (!record) return undefined;
    const [ended] = await this.ender.end([record], 'user');
    return ended;
  }

  #used(found: FoundSession | null): RequestSession {
    if (!found) return { session: null, stale: true };
    this.touches.note(found);
    return { session: sessionOf(found), stale: false };
  }
}

function userIdOf(user: OAuthUser | string): string {
  return typeof user === 'string' ? user : user.id;
}
