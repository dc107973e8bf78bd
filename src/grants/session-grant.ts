// Which grant stands behind a session, as of the session's lookup. The session object itself does not show it.
import type { OAuthSession } from '../options/session.js';

/** A grant as known when a session was looked up. */
export interface BoundGrant {
  readonly grantId: string;
  readonly version: number;
  /** Monotonic milliseconds of the lookup. */
  readonly asOf: number;
}

const grants = new WeakMap<OAuthSession, BoundGrant | null>();

/** Remembers the grant behind a session that was just looked up. */
export function bindGrant(session: OAuthSession, grant: Omit<BoundGrant, 'asOf'> | null): void {
  grants.set(session, grant && { ...grant, asOf: performance.now() });
}

/** The grant behind a session; null when it has none, undefined when the session is a copy and nothing is known. */
export function grantBehind(session: OAuthSession): BoundGrant | null | undefined {
  return grants.get(session);
}
