// From a verified identity to a session: onLogin, then one transaction, then a new cookie.
import { Injectable } from '@nestjs/common';
import { AccountService } from '../accounts/account.service.js';
import { lockKey } from '../crypto/digest.js';
import { randomToken } from '../crypto/random.js';
import { Database } from '../database/database.service.js';
import { identityLocks, lockIdentities } from '../database/identity-locks.js';
import type { Queryable } from '../database/queryable.js';
import { OAuthError } from '../errors/oauth-error.js';
import { OAuthEvents } from '../events/oauth-events.service.js';
import { GrantEnder } from '../grants/grant-ender.service.js';
import { ResolvedOptions } from '../options/resolve-options.js';
import { BROWSER_COOKIE_MAX_AGE, serializeCookie } from '../sessions/cookies.js';
import { SessionService } from '../sessions/session.service.js';
import type { WebRequest } from '../sessions/web-request.js';
import { stillSafe } from '../state/return-to.js';
import type { PendingLogin } from '../state/state.service.js';
import { LoginAnswerer, type VerifiedLogin } from '../strategy/login-answer.service.js';
import { LoginStarter } from '../strategy/login-start.service.js';
import { LoginPreparer } from './login-preparer.service.js';
import { loginRefusal } from './login-refusal.js';
import { LoginRepository, type LoginWrite, type LoginWritten } from './login.repository.js';
import { StepUpLogin } from './step-up-login.service.js';

/** A finished login: where the browser goes, with which cookies. */
export interface FinishedLogin {
  readonly returnTo: string;
  readonly cookies: readonly string[];
}

/** Longest user id, bytes of UTF-8: it is indexed, and an index row of Postgres takes 2,700. */
const MAX_USER_ID_BYTES = 1_024;

/** The account's grant must be left alone: nothing but the profile was written, if that. */
class StandsApart extends OAuthError {
  constructor() {
    super('server_error');
  }
}

/** A login as it was written. */
interface Written {
  readonly write: LoginWrite;
  readonly written: LoginWritten & { readonly crowdedOut: readonly string[] };
}

/** Finishes logins. */
@Injectable()
export class LoginService {
  constructor(
    private readonly answerer: LoginAnswerer,
    private readonly starter: LoginStarter,
    private readonly preparer: LoginPreparer,
    private readonly logins: LoginRepository,
    private readonly accounts: AccountService,
    private readonly sessions: SessionService,
    private readonly stepUps: StepUpLogin,
    private readonly grants: GrantEnder,
    private readonly database: Database,
    private readonly events: OAuthEvents,
    private readonly options: ResolvedOptions,
  ) {}

  /** Logs the person in. A failure leaves no trace but the consumed state, and revokes what was issued. */
  finish(request: WebRequest, login: VerifiedLogin): Promise<FinishedLogin> {
    return this.answerer.guarded(login.attempt, () => this.#finish(request, login));
  }

  async #finish(request: WebRequest, login: VerifiedLogin): Promise<FinishedLogin> {
    const { provider, pending } = login.attempt;
    const { identity } = login;
    await this.stepUps.assert(request, login);
    const owner = { ...(await this.#user(request, login)), token: randomToken() };
    const { write, written } = await this.#write(login, await this.preparer.prepare(request, login, owner)).catch(
      async (error: unknown) => {
        if (!(error instanceof StandsApart)) throw error;
        return this.#write(login, await this.preparer.prepare(request, login, { ...owner, bound: 'session' }));
      },
    );
    const { ended, crowdedOut } = written;
    if (crowdedOut.length > 0)
      this.events.emit('logout', { userId: written.user_id, sessionIds: crowdedOut, by: 'replaced' });
    if (this.#endsGrants(written) || crowdedOut.length > 0) this.grants.wake();
    if (ended) this.events.emit('logout', { userId: ended.user_id, sessionIds: [ended.id], by: 'replaced' });
    this.events.emit('login', {
      provider: provider.name,
      issuer: identity.issuer,
      subject: identity.subject,
      userId: written.user_id!,
      accountId: written.account_id!,
      sessionId: write.session.id,
      firstLogin: written.first_login!,
    });
    const { secure } = this.options;
    const cookies = [serializeCookie('session', owner.token, { secure, maxAge: written.session_seconds! })];
    // Another person at the same browser: what was pending for the first one must not be finished by the second.
    if (ended && ended.user_id !== written.user_id)
      cookies.push(serializeCookie('browser', randomToken(), { secure, maxAge: BROWSER_COOKIE_MAX_AGE }));
    return { returnTo: stillSafe(pending.returnTo, this.starter.returnToPolicy), cookies };
  }

  /**
   * One transaction.
   * @throws {StandsApart} when the grant must be the session's own: its secrets are to be sealed for that, and not here,
   * where a slow key ring would hold locks and a connection
   */
  async #write(login: VerifiedLogin, write: LoginWrite): Promise<Written> {
    const { attempt, identity } = login;
    const { provider, pending } = attempt;
    const locks = [...(await this.#limitLock(write)), ...identityLocks(identity)];
    const single = this.#isAllThereIs(pending, write);
    // Nobody waits longer for the transaction; held up on its way, it must not be done behind the back of who gave up.
    const within = single ? (performance.now() - pending.consumedAt + this.options.databaseTimeout) / 1000 : null;
    const work = async (tx: Queryable): Promise<Written> => {
      const result = await this.logins.write(tx, write, within);
      if (result.apart) throw new StandsApart();
      // Less than a second: the cookie would be gone before it is used, and the browser go round in circles.
      if ((result.session_seconds ?? 0) < 1) throw loginRefusal(result, provider.name);
      if (pending.intent === 'step_up' && result.ended?.id !== pending.sessionId)
        throw new OAuthError('invalid_state', {
          provider: provider.name,
          cause: new Error('the session that was to be stepped up has ended meanwhile'),
        });
      return { write, written: { ...result, crowdedOut: await this.#endReplaced(tx, result) } };
    };
    return this.database.transaction(locks, work, { single });
  }

  /** Whether nothing can follow the statement but its COMMIT: no other session ends, and none is refused for being short. */
  #isAllThereIs({ intent }: PendingLogin, { oldTokenHash, session }: LoginWrite): boolean {
    return (
      intent === 'login' &&
      oldTokenHash === null &&
      session.ceiling === null &&
      this.options.session.maxPerUser === null
    );
  }

  /**
   * Where sessions are limited, the logins of one user go one after the other, by whichever identity. Taken before all other
   * locks: whoever holds it takes those of the sessions that are too many as well.
   */
  async #limitLock({ account: { issuer, subject, userId } }: LoginWrite): Promise<bigint[]> {
    if (this.options.session.maxPerUser === null) return [];
    const user = userId ?? (await this.accounts.find(issuer, subject))?.userId;
    // A new user has no other session.
    return user === undefined ? [] : [lockKey('user', user)];
  }

  /** What `onLogin` says, and of which account; null leaves the user to the account. */
  async #user(
    request: WebRequest,
    { identity, tokens, attempt }: VerifiedLogin,
  ): Promise<{ userId: string | null; known: string | null }> {
    const { onLogin } = this.options;
    if (!onLogin) return { userId: null, known: null };
    const [account, { session }] = await Promise.all([
      this.accounts.find(identity.issuer, identity.subject),
      this.sessions.ofRequest(request),
    ]);
    const userId: unknown = await onLogin({
      provider: attempt.provider.name,
      issuer: identity.issuer,
      subject: identity.subject,
      profile: identity.profile,
      claims: identity.claims,
      scope: tokens.scope,
      account: account && { id: account.id, userId: account.userId, createdAt: account.createdAt },
      currentUser: session?.user ?? null,
    });
    if (
      typeof userId !== 'string' ||
      Buffer.byteLength(userId) > MAX_USER_ID_BYTES ||
      !/^[^\0\ud800-\udfff]+$/u.test(userId)
    ) {
      throw new OAuthError('server_error', {
        cause: new Error(
          `onLogin must return the user id, a string of 1 to ${MAX_USER_ID_BYTES} bytes; throw LoginRefusedError to refuse`,
        ),
      });
    }
    if (account && account.userId !== userId)
      throw new OAuthError('account_conflict', { provider: attempt.provider.name });
    return { userId, known: account?.id ?? null };
  }

  /** A session of somebody else on this browser has ended: its grant may now be unneeded. So may those beyond the limit. @returns ids of the latter */
  async #endReplaced(
    tx: Queryable,
    { ended, account_id: accountId, user_id: userId }: LoginWritten,
  ): Promise<string[]> {
    if (ended && ended.account_id !== accountId) await lockIdentities(tx, [{ ...ended, sid: null }]);
    if (ended && this.#endsGrants({ ended, account_id: accountId })) await this.grants.endUnneeded(tx, [ended]);
    const { maxPerUser } = this.options.session;
    if (maxPerUser === null) return [];
    const tooMany = await this.logins.oldest(tx, userId!, maxPerUser);
    if (tooMany.length === 0) return [];
    // A login of theirs that is just committing must be seen: its session needs the grant.
    await lockIdentities(tx, tooMany);
    const crowdedOut = await this.logins.endOldest(tx, userId!, maxPerUser);
    await this.grants.endUnneeded(tx, crowdedOut);
    return crowdedOut.map(({ id }) => id);
  }

  /** An account-bound grant of the same account serves the new session; everything else may have lost its last use. */
  #endsGrants({ ended, account_id: accountId }: Pick<LoginWritten, 'ended' | 'account_id'>): boolean {
    if (!ended) return false;
    return ended.account_id !== accountId || ended.own_grant;
  }
}
