// One operation of the protocol library: the library has no parameter for what its requests should know and report.
import type * as client from 'openid-client';
import type { Lane, Lanes } from './library-lane.js';

/** Tokens that were issued, before anything about them was judged. */
export interface IssuedEarly {
  readonly accessToken: string;
  readonly refreshToken: string | null;
  /** The ID token that came along. */
  readonly idToken: string | null;
}

/** What one call of the library may know and report: it has no parameter for either. */
export interface CallContext {
  /** Ends every request of this call. */
  signal?: AbortSignal;
  /** Told of tokens as soon as they are issued, before any check of the ID token can fail. */
  onIssued?: (tokens: IssuedEarly) => void;
}

/** One operation of the library: what it works with, and what its requests learn on the way. */
export class ProviderCall {
  /** The ID token whose signature was checked within this call. */
  verified: string | undefined;
  /** A request of this call was begun. */
  asked = false;
  #lane: Lane<ProviderCall> | undefined;

  constructor(
    readonly metadata: client.ServerMetadata,
    readonly context: CallContext,
    private readonly lanes: Lanes<ProviderCall>,
  ) {}

  /** A configuration that is this call's own until it ends, by which its requests find back to it. */
  get config(): client.Configuration {
    return (this.#lane ??= this.lanes.take(this)).config;
  }

  /** The call has ended well: nothing of it is under way any more. */
  end(): void {
    if (this.#lane) this.lanes.giveBack(this.#lane);
    this.#lane = undefined;
  }
}
