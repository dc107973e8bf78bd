// From a verified identity to everything that its login writes: ids made, secrets sealed, lifetimes limited. Key rings
// may be slow, so this happens before a transaction, never inside one.
import { Injectable } from '@nestjs/common';
import { sha256 } from '../crypto/digest.js';
import { randomId } from '../crypto/random.js';
import { Sealer } from '../crypto/sealing.js';
import {
  accessKeyContext,
  accessTokenContext,
  dpopKeyContext,
  type GrantOwner,
  idTokenContext,
  refreshTokenContext,
} from '../grants/grant-sealing.js';
import { ResolvedOptions } from '../options/resolve-options.js';
import type { WebRequest } from '../sessions/web-request.js';
import type { VerifiedLogin } from '../strategy/login-answer.service.js';
import type { LoginWrite } from './login.repository.js';

/** What the application and the browser have to do with a login. */
export interface LoginOwner {
  /** Null leaves it to the account. */
  userId: string | null;
  /** Id of the account that the application decided about, where there was one. */
  known?: string | null;
  /** The new session's cookie value. */
  token: string;
  /** To what the grant is bound, whatever the provider's option says. */
  bound?: 'account' | 'session';
}

/** Prepares logins and links for writing. */
@Injectable()
export class LoginPreparer {
  constructor(
    private readonly sealer: Sealer,
    private readonly options: ResolvedOptions,
  ) {}

  /** Everything that a login writes. Ids are new each time, and sealed values belong to them. */
  async prepare(
    request: WebRequest,
    { attempt, identity, tokens, dpopKey }: VerifiedLogin,
    { userId, known = null, token, bound }: LoginOwner,
  ): Promise<LoginWrite> {
    const { provider, pending } = attempt;
    const { session: lifetimes, secure } = this.options;
    const [accountId, grantId, sessionId] = [randomId(), randomId(), randomId()];
    const sessionBound = (bound ?? provider.definition.grant) === 'session';
    const owner: GrantOwner = {
      provider: provider.name,
      issuer: identity.issuer,
      subject: identity.subject,
      sessionGrantId: sessionBound ? grantId : null,
    };
    const [accessToken, refreshToken, idToken, sealedKey, accessKey] = await Promise.all([
      this.sealer.seal(accessTokenContext(owner, ''), tokens.accessToken),
      tokens.refreshToken === null ? null : this.sealer.seal(refreshTokenContext(owner), tokens.refreshToken),
      tokens.idToken === null ? null : this.sealer.seal(idTokenContext(sessionId), tokens.idToken),
      dpopKey === undefined ? null : this.sealer.seal(dpopKeyContext(owner), dpopKey),
      dpopKey === undefined ? null : this.sealer.seal(accessKeyContext(owner, ''), dpopKey),
    ]);
    const oldToken = request.cookie('session', secure).value;
    const ceilings = [identity.sessionExpiry, lifetimes.bindToIdToken ? identity.idTokenExpiresAt : null].filter(
      (date) => date !== null,
    );
    return {
      stateHash: pending.stateHash,
      oldTokenHash: oldToken === null ? null : sha256(oldToken),
      account: {
        id: accountId,
        provider: provider.name,
        issuer: identity.issuer,
        subject: identity.subject,
        userId,
        known,
        profile: identity.profile,
      },
      grant: {
        id: grantId,
        sessionBound,
        replaces: bound === 'account',
        scope: tokens.scope,
        refreshToken,
        refreshExpiresIn: tokens.refreshExpiresIn,
        dpopKey: sealedKey,
        accessToken,
        accessKey,
        tokenType: tokens.tokenType,
        expiresIn: tokens.expiresIn,
      },
      session: {
        id: sessionId,
        tokenHash: sha256(token),
        sid: identity.sid,
        authTime: identity.authTime,
        acr: identity.acr,
        amr: identity.amr,
        idleTimeout: lifetimes.idleTimeout,
        absoluteTimeout: lifetimes.absoluteTimeout,
        ceiling: ceilings.length === 0 ? null : new Date(Math.min(...ceilings.map((date) => date.getTime()))),
        ip: request.ip,
        userAgent: request.userAgent,
        idToken,
      },
    };
  }
}
