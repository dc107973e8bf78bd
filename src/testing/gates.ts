// Lets a test step in between: something to do before a request is processed, or after it and before the answer.
import { isFor, type Endpoint, type LoggedRequest } from './request-log.js';

/** What to do on the way; both are awaited. */
export interface Interposition {
  before?: (request: LoggedRequest) => unknown;
  after?: (request: LoggedRequest) => unknown;
  /** How often; every time by default. */
  times?: number;
}

/** A request that is being held back. */
export interface Hold {
  /** Resolves once a request has arrived (and, held after processing, was processed). */
  readonly arrived: Promise<LoggedRequest>;
  /** Lets it, and all that wait with it, go on. */
  release(): void;
}

/** The interpositions in force. */
export class Gates {
  private active: (Interposition & { endpoint: Endpoint; left: number })[] = [];

  /** Puts one in force until the function returned is called. */
  add(endpoint: Endpoint, what: Interposition): () => void {
    const entry = { ...what, endpoint, left: what.times ?? Infinity };
    this.active.push(entry);
    return () => {
      this.active = this.active.filter((other) => other !== entry);
    };
  }

  /** Holds the requests of an endpoint, by default after they were processed. */
  hold(endpoint: Endpoint, at: 'before' | 'after' = 'after'): Hold {
    let arrive: (request: LoggedRequest) => void = () => undefined;
    let open: () => void = () => undefined;
    const arrived = new Promise<LoggedRequest>((resolve) => (arrive = resolve));
    const opened = new Promise<void>((resolve) => (open = resolve));
    const wait = (request: LoggedRequest): Promise<void> => {
      arrive(request);
      return opened;
    };
    const remove = this.add(endpoint, { [at]: wait });
    return {
      arrived,
      release: () => {
        remove();
        open();
      },
    };
  }

  /** The interpositions for this request, each counted once. */
  take(request: LoggedRequest): Interposition[] {
    if (this.active.length === 0) return [];
    const fitting = this.active.filter((entry) => entry.left > 0 && isFor(request, entry.endpoint));
    for (const entry of fitting) entry.left -= 1;
    return fitting;
  }

  /** Removes all. What is being held stays held until it is released. */
  clear(): void {
    this.active = [];
  }
}
