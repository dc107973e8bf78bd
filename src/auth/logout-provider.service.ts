// Logout that begins at the provider: back-channel by a signed token, front-channel by a frame in the person's browser.
import { Injectable } from '@nestjs/common';
import { lockKey, sha256 } from '../crypto/digest.js';
import { Database } from '../database/database.service.js';
import { lockIdentities } from '../database/identity-locks.js';
import { OAuthError } from '../errors/oauth-error.js';
import { OAuthEvents } from '../events/oauth-events.service.js';
import { GrantEnder } from '../grants/grant-ender.service.js';
import { isSid } from '../providers/identity.js';
import type { Provider } from '../providers/provider.js';
import { ProviderError } from '../providers/provider-fault.js';
import { ProviderRegistry } from '../providers/provider.registry.js';
import { parseJsonObject } from '../providers/strict-json.js';
import { type LogoutClaims, logoutClaims } from './logout-token.js';
import { LogoutRepository, type LogoutTarget } from './logout.repository.js';

/** Most front-channel requests at once: anybody can send many, and they must not take the pool from others. */
const MAX_FRAMES = 3;

/** Ends sessions because their provider says so. */
@Injectable()
export class ProviderLogout {
  #frames = 0;

  constructor(
    private readonly providers: ProviderRegistry,
    private readonly logouts: LogoutRepository,
    private readonly grants: GrantEnder,
    private readonly database: Database,
    private readonly events: OAuthEvents,
  ) {}

  /**
   * Obeys a logout token. Nothing is written before its signature holds.
   * @throws {OAuthError} `invalid_request` for anything that is no valid logout token
   * @see OIDC Back-Channel Logout §2.6, §2.7
   */
  async backchannel(providerName: string, token: string): Promise<void> {
    const provider = this.#oidc(providerName);
    const claims = await this.#verified(provider, token);
    const { issuer } = provider;
    const target = { issuer, sid: claims.sid, sub: claims.sub };
    const hash = sha256(JSON.stringify([issuer, claims.jti]));
    await this.#end(target, { revoke: true, hash });
  }

  /**
   * Ends the session that a front-channel request names. Anybody can make a browser send one, so nothing more than this
   * one session ends, and nothing is revoked at the provider.
   * @throws {OAuthError} `invalid_request` unless both parameters are there and the issuer is this provider's;
   * `too_many_requests` while as many as may be are under way
   * @see OIDC Front-Channel Logout §2
   */
  async frontchannel(providerName: string, given: { iss: string | undefined; sid: string | undefined }): Promise<void> {
    const provider = this.#oidc(providerName);
    const { iss, sid } = given;
    if (iss !== provider.issuer || !isSid(sid))
      throw new OAuthError('invalid_request', { cause: new Error('front-channel logout: "iss" and "sid" do not fit') });
    if (this.#frames >= MAX_FRAMES)
      throw new OAuthError('too_many_requests', {
        provider: providerName,
        message: 'Too many logouts at once. Please wait a moment.',
        retryAfter: 1,
      });
    this.#frames++;
    try {
      await this.#end({ issuer: provider.issuer, sid, sub: null }, { revoke: false });
    } finally {
      this.#frames--;
    }
  }

  /** Origin that may frame the front-channel answer. */
  frameAncestor(providerName: string): string {
    return new URL(this.#oidc(providerName).issuer).origin;
  }

  #oidc(name: string): Provider {
    const provider = this.providers.get(name);
    if (provider.definition.kind !== 'oidc')
      throw new OAuthError('not_found', { cause: new Error('only OpenID Connect providers log people out') });
    return provider;
  }

  async #verified(provider: Provider, token: string): Promise<LogoutClaims> {
    try {
      const { header, payload } = await provider.verifySigned(token);
      return logoutClaims({ ...header }, parseJsonObject(Buffer.from(payload).toString('utf8')), {
        issuer: provider.issuer,
        clientId: provider.definition.clientId,
        expOptional: provider.definition.logoutTokenWithoutExp === true,
      });
    } catch (error) {
      // Keys or metadata that cannot be had are no judgement of the token: the provider shall try again.
      if (error instanceof OAuthError && !(error instanceof ProviderError && error.code === 'invalid_id_token'))
        throw error;
      throw new OAuthError('invalid_request', {
        provider: provider.name,
        cause: new Error(`logout token: ${error instanceof Error ? error.message : 'unreadable'}`),
      });
    }
  }

  /** One transaction under the locks that logins take as well, in the same order: sid, then subject. */
  async #end(target: LogoutTarget, { revoke, hash }: { revoke: boolean; hash?: Buffer }): Promise<void> {
    const { issuer, sid, sub } = target;
    const locks = [
      ...(sid === null ? [] : [lockKey('sid', issuer, sid)]),
      ...(sub === null ? [] : [lockKey('sub', issuer, sub)]),
    ];
    const ended = await this.database.transaction(locks, async (tx) => {
      // Delivered twice: the first time has done it, and a newer session is not meant.
      if (hash && !(await this.logouts.remember(tx, { ...target, hash }))) return [];
      if (sub === null) {
        const subjects = await this.logouts.subjects(tx, target);
        await lockIdentities(
          tx,
          subjects.map((subject) => ({ issuer, subject, sid: null })),
        );
      }
      const sessions = await this.logouts.end(tx, target);
      // Refresh tokens issued for `offline_access` outlive the session (OIDC Back-Channel Logout §2.7).
      if (revoke) await this.grants.endUnneeded(tx, sessions, { keepOffline: true });
      return sessions;
    });
    if (ended.length === 0) return;
    for (const userId of new Set(ended.map((session) => session.user_id))) {
      const sessionIds = ended.filter((session) => session.user_id === userId).map((session) => session.id);
      this.events.emit('logout', { userId, sessionIds, by: 'provider' });
    }
    this.grants.wake();
  }
}
