// One operation of the protocol library: the library has no parameter for what its requests should know and report.
import type * as client from 'openid-client';

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
  #config: client.Configuration | undefined;

  constructor(
    readonly metadata: client.ServerMetadata,
    readonly context: CallContext,
    private readonly configured: (call: ProviderCall) => client.Configuration,
  ) {}

  /** A configuration of this call's own, by which its requests find back to it. */
  get config(): client.Configuration {
    return (this.#config ??= this.configured(this));
  }
}
