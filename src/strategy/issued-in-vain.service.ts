// What was issued to a login that failed afterwards: nobody will use these tokens, so they are revoked.
import { setTimeout as sleep } from 'node:timers/promises';
import { Injectable, type OnApplicationShutdown } from '@nestjs/common';
import { GrantRepository } from '../grants/grant.repository.js';
import { claimedSubject } from '../providers/identity.js';
import type { IssuedEarly } from '../providers/provider-call.js';
import type { Provider } from '../providers/provider.js';

/** Pauses between questions to a database that is away, milliseconds: half a minute in all. */
const FIRST_PAUSE = 250;
const LONGEST_PAUSE = 16_000;
/** How long a process that ends waits for the revocations of failed logins, milliseconds. */
const GOODBYE = 2_000;

/** What is known of an attempt that failed. */
interface Attempt {
  readonly provider: Provider;
  readonly issued: IssuedEarly | null;
  /** Known once the ID token or profile was believed. */
  readonly subject: string | null;
}

/** Revokes tokens of failed logins. */
@Injectable()
export class IssuedInVain implements OnApplicationShutdown {
  /** Revocations under way. */
  readonly #revoking = new Set<Promise<void>>();

  constructor(private readonly grants: GrantRepository) {}

  /** Revokes, behind the answer, whatever the attempt was issued. */
  revoke(attempt: Attempt): void {
    if (!attempt.issued) return;
    const revoking = this.#revoke(attempt.issued, attempt).finally(() => this.#revoking.delete(revoking));
    this.#revoking.add(revoking);
  }

  /** What was in flight has been answered by now; what it left to be revoked is waited for, in bounds. */
  async onApplicationShutdown(): Promise<void> {
    await Promise.race([Promise.allSettled(this.#revoking), sleep(GOODBYE, undefined, { ref: false })]);
  }

  /** Best effort. Where one revocation ends everything of the user, a living grant of the user is spared. */
  async #revoke(issued: IssuedEarly, { provider, subject }: Attempt): Promise<void> {
    try {
      if (provider.definition.revocation === 'grant') {
        const owner = subject ?? (issued.idToken === null ? null : claimedSubject(issued.idToken));
        // No profile could be had, so nobody knows whose grant this would end; nobody has kept these tokens either.
        if (owner === null && provider.definition.kind !== 'oidc') return;
        if (owner !== null && (await this.#hasActive(provider, owner))) return;
      }
      if (issued.refreshToken !== null) await provider.revoke(issued.refreshToken, 'refresh_token');
      await provider.revoke(issued.accessToken, 'access_token');
    } catch {
      // The tokens expire by themselves; the failed login has been told already.
    }
  }

  /** Asked again while the database is away, which is why many a login fails; the end of a living grant is for good. */
  async #hasActive(provider: Provider, subject: string): Promise<boolean> {
    for (let pause = FIRST_PAUSE; ; pause *= 2) {
      try {
        return await this.grants.hasActive(provider.issuer, subject);
      } catch (error) {
        if (pause > LONGEST_PAUSE) throw error;
        await sleep(pause, undefined, { ref: false });
      }
    }
  }
}
