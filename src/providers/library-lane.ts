// Configurations of the protocol library, used again: making one copies the provider's whole metadata, and a login needs
// two. Each serves one call at a time, since its requests have no other way to find the call that they belong to.
import * as client from 'openid-client';

/** Configurations kept at most; calls beyond, all at once, make their own. */
const MAX_IDLE = 64;

/** A configuration, and the call that it serves. */
export interface Lane<Call> {
  readonly config: client.Configuration;
  call: Call | undefined;
}

/** The configurations of one provider, for as long as its metadata stays as it is. */
export class Lanes<Call> {
  readonly #idle: Lane<Call>[] = [];

  /**
   * @param configured makes a configuration
   * @param answer answers the library's requests
   */
  constructor(
    private readonly configured: () => client.Configuration,
    private readonly answer: (url: string, options: client.CustomFetchOptions, call: Call) => Promise<Response>,
  ) {}

  /** A configuration that nobody else has. */
  take(call: Call): Lane<Call> {
    const lane = this.#idle.pop() ?? this.#made();
    lane.call = call;
    return lane;
  }

  /** Takes one back whose call has ended well. That of a failed call is left alone: something of it may still be under way. */
  giveBack(lane: Lane<Call>): void {
    lane.call = undefined;
    if (this.#idle.length < MAX_IDLE) this.#idle.push(lane);
  }

  #made(): Lane<Call> {
    const lane: Lane<Call> = { config: this.configured(), call: undefined };
    lane.config[client.customFetch] = (url, options) => {
      if (!lane.call) return Promise.reject(new Error('a request of a call that has ended'));
      return this.answer(url, options, lane.call);
    };
    return lane;
  }
}
