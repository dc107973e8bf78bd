// The lease on a grant as its holder sees it, and what one refresh under it knows.
import type { Provider } from '../providers/provider.js';
import type { IssuedEarly } from '../providers/provider-call.js';
import type { RefreshWish } from './grant-ref.js';
import type { GrantRow } from './grant.repository.js';

/** What a lease hands over. */
export interface LeaseRow {
  refresh_token: string | null;
  dpop_key: string | null;
  /** A refresh was sent earlier, and no answer was ever written. */
  unanswered: boolean;
  lost_answers: number;
}

/** A lease with all that its holder needs to know. Times are monotonic milliseconds. */
export interface Lease extends LeaseRow {
  readonly grantId: string;
  readonly version: number;
  readonly owner: string;
  readonly provider: Provider;
  /** The provider must have answered by then. */
  readonly deadline: number;
  readonly leaseEnd: number;
}

/** The journal as it should read after a lease. */
export interface Journal {
  /** A refresh was sent, and no answer was ever written. */
  readonly unanswered: boolean;
  readonly lostAnswers: number;
  /** Nobody refreshes this grant for so many seconds. */
  readonly pause: number;
}

/** One refresh under a lease. */
export interface Occasion {
  readonly row: GrantRow;
  readonly wish: RefreshWish;
  readonly lease: Lease;
  /** The refresh token that was sent. */
  readonly refreshToken: string;
}

/** A refresh that failed. */
export interface Failed extends Occasion {
  readonly lostAnswers: number;
  /** Undefined where nothing was issued. */
  readonly early: IssuedEarly | undefined;
}

/** The grant is at another version now, and somebody should look again. */
export class GrantMoved extends Error {
  constructor(readonly row: GrantRow) {
    super('the grant moved on');
  }

  /** Throws it, where an expression is wanted. */
  static at(row: GrantRow): never {
    throw new GrantMoved(row);
  }
}
