// Ends sessions and what hangs on them.
import { Injectable } from '@nestjs/common';
import { Database } from '../database/database.service.js';
import { identityLocks, type LockedIdentity } from '../database/identity-locks.js';
import { OAuthEvents, type OAuthEventMap } from '../events/oauth-events.service.js';
import { GrantEnder } from '../grants/grant-ender.service.js';
import { type EndedSession, type LastingKey, SessionRepository } from './session.repository.js';

/** Looks for sessions that replaced those which were to end: each takes a whole login, which nobody finishes again and again. */
const MAX_LOOKS = 3;

/** Who ends a session. */
export type EndReason = OAuthEventMap['logout']['by'];

/** A session that is to end: what it keeps for life, and whose it is. */
export type Ending = LastingKey & LockedIdentity;

/** Ends sessions. */
@Injectable()
export class SessionEnder {
  constructor(
    private readonly sessions: SessionRepository,
    private readonly grants: GrantEnder,
    private readonly database: Database,
    private readonly events: OAuthEvents,
  ) {}

  /**
   * Ends sessions, one identity at a time under its locks: a login that is just committing, and another last logout, must
   * see each other; and a link that gives the session another id meanwhile saves nothing.
   */
  async end(found: readonly Ending[], by: EndReason): Promise<EndedSession[]> {
    const ended: EndedSession[] = [];
    try {
      for (const session of found) {
        const removed = await this.database.transaction(identityLocks(session), async (tx) => {
          const rows = await this.sessions.remove(tx, session);
          await this.grants.endUnneeded(tx, rows);
          return rows;
        });
        ended.push(...removed);
      }
      return ended;
    } finally {
      // Also where one of them failed: the others have ended, and nobody else tells of them.
      if (ended.length > 0) {
        this.events.emit('logout', { userId: ended[0]!.user_id, sessionIds: ended.map((session) => session.id), by });
        this.grants.wake();
      }
    }
  }

  /**
   * Ends all that are found, and looks again where one was gone by then: a login or step-up may have put another in its
   * place. @returns how many ended
   */
  async endAll(find: () => Promise<readonly Ending[]>, by: EndReason): Promise<number> {
    let count = 0;
    for (let look = 1; ; look++) {
      const found = await find();
      const { length } = await this.end(found, by);
      count += length;
      if (length >= found.length || look === MAX_LOOKS) return count;
    }
  }
}
