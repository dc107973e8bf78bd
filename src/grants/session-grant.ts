// Which grant stands behind a session, as of the session's lookup. The session object itself does not show it.
import type { OAuthSession } from '../options/session.js';

/** A grant as known when a session was looked up. */
export interface BoundGrant {
  readonly grantId: string;
  readonly version: number;
  /** Monotonic milliseconds of the lookup. */
  readonly asOf: number;
}

/** The members of a session's row that name its grant. */
export interface GrantColumns {
  readonly grant_id: string | null;
  readonly grant_version: number | null;
}

/** What a session that we made carries unseen. A private member, since a WeakMap costs the garbage collector dearly. */
export abstract class GrantBearer {
  readonly #row: GrantColumns;
  readonly #asOf = performance.now();

  constructor(row: GrantColumns) {
    this.#row = row;
  }

  /** See {@link grantBehind}. */
  static grantOf(session: object): BoundGrant | null | undefined {
    if (!(#row in session)) return undefined;
    const { grant_id: grantId, grant_version: version } = session.#row;
    return grantId === null ? null : { grantId, version: version ?? 0, asOf: session.#asOf };
  }
}

/** The grant behind a session; null when it has none, undefined when the session is a copy and nothing is known. */
export function grantBehind(session: OAuthSession): BoundGrant | null | undefined {
  return GrantBearer.grantOf(session);
}
