// One operation of the protocol library: the library has no parameter for what its requests should know and report.
import type * as client from 'openid-client';
import type { Lane, Lanes } from './library-lane.js';

/** What one call of the library may know and report: it has no parameter for either. */
export interface CallContext {
  /** Ends every request of this call. */
  signal?: AbortSignal;
  /** Told of tokens as soon as they are issued, before any check of the ID token can fail. */
  onIssued?: (tokens: { accessToken: string; refreshToken: string | null }) => void;
}

/** One operation of the library: what it works with, and what its requests learn on the way. */
export class ProviderCall {
  /** The ID token whose signature was checked within this call. */
  verified: string | undefined;
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
