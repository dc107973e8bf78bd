// The faults a FakeProvider can show, by name, and the list of those that are switched on.
import { isFor, type Endpoint, type LoggedRequest } from './request-log.js';

/** What a body is made of where a fault only changes its wrapping: nothing useful, or the genuine answer. */
export type Carried = 'own' | 'json' | 'form';

/**
 * A fault by name. Unless a kind says "processed", the request has no effect on the provider: no code is spent and no
 * refresh token rotated.
 */
export type Fault =
  /** Waits before the request is processed; a pair is a range. Combines with any other fault. */
  | { kind: 'latency'; ms: number | [min: number, max: number] }
  /** Answers with this status. `processed: true` processes the request and sends its genuine body with this status. */
  | {
      kind: 'status';
      status: number;
      retryAfter?: number | string;
      body?: string;
      contentType?: string;
      headers?: Record<string, string>;
      processed?: boolean;
    }
  /** An OAuth error answer; at the authorization endpoint it goes back through the browser. Status 400 by default. */
  | {
      kind: 'oauthError';
      error: string;
      description?: string;
      uri?: string;
      status?: number;
      retryAfter?: number | string;
    }
  /** Accepts the request and falls silent: before the headers, or (processed) in the middle of the body. */
  | { kind: 'stall'; at?: 'headers' | 'body' }
  /** Processed; answers one byte at a time, one per second by default. */
  | { kind: 'drip'; intervalMs?: number }
  /** Processed; spreads the answer evenly over this time. */
  | { kind: 'slow'; ms: number }
  /** Processed; closes in mid-body, or promises a longer body than it sends. */
  | { kind: 'truncated'; how?: 'closed' | 'contentLength' }
  /** Resets the connection without an answer. */
  | { kind: 'reset' }
  /** A JSON body of this many bytes; 64 MiB by default. */
  | { kind: 'oversize'; bytes?: number }
  /** Chunks without end. */
  | { kind: 'endless' }
  /** A small gzip body that unpacks to this many bytes; 256 MiB by default. */
  | { kind: 'gzipBomb'; bytes?: number }
  /** Any body under any content type; `null` sends no content type. */
  | {
      kind: 'raw';
      body: string | Uint8Array;
      contentType?: string | null;
      status?: number;
      headers?: Record<string, string>;
    }
  /** JSON bodies that are no answer. */
  | { kind: 'null' | 'array' | 'string' | 'number' | 'emptyObject' | 'emptyBody' }
  /** Processed; the genuine answer with a byte order mark before it, or with a NUL byte in it. */
  | { kind: 'bom' | 'nul' }
  /** Processed; the genuine answer with this member (default `access_token`) doubled, the false value last. */
  | { kind: 'doubledKeys'; member?: string }
  /** Processed; the genuine answer with a `__proto__` and a `constructor` member. */
  | { kind: 'protoKeys' }
  /** Arrays nested this deep, inside the member `access_token`; a million by default. */
  | { kind: 'deepNesting'; depth?: number }
  /** A body that is HTML, text, or of no declared type; `carry` (then processed) puts the genuine answer in it. */
  | { kind: 'html' | 'text' | 'noContentType'; carry?: Carried }
  /** A redirect, by default to the provider's own trap; `withJson` (processed) puts the genuine answer in its body. */
  | { kind: 'redirect'; status?: 301 | 302 | 303 | 307 | 308; location?: string; withJson?: boolean }
  /** Processed (a refresh token is rotated); then the connection is reset without an answer. */
  | { kind: 'lostAnswer' }
  /** Processed at once; answered after this time. */
  | { kind: 'lateAnswer'; ms: number };

/** Name of a fault. */
export type FaultKind = Fault['kind'];

/** When a fault strikes. */
export interface FaultTiming {
  /** How often; without it every time, until cleared. */
  times?: number;
  /** How many fitting requests pass unharmed first. @defaultValue `0` */
  after?: number;
  /** Which requests are meant; all of the endpoint by default. */
  when?: (request: LoggedRequest) => boolean;
}

/** A fault that was switched on. */
export interface FaultHandle {
  /** How often it struck so far. */
  readonly hits: number;
  /** Switches it off. */
  clear(): void;
}

interface ActiveFault {
  endpoint: Endpoint;
  fault: Fault & FaultTiming;
  passed: number;
  hits: number;
}

/** The faults that are switched on, in the order they were. */
export class FaultRegistry {
  private active: ActiveFault[] = [];

  /** Switches a fault on. */
  add(endpoint: Endpoint, fault: Fault & FaultTiming): FaultHandle {
    const entry: ActiveFault = { endpoint, fault, passed: 0, hits: 0 };
    this.active.push(entry);
    return {
      get hits() {
        return entry.hits;
      },
      clear: () => {
        this.active = this.active.filter((other) => other !== entry);
      },
    };
  }

  /** Switches off all faults, or those of one endpoint. */
  clear(endpoint?: Endpoint): void {
    this.active = endpoint === undefined ? [] : this.active.filter((entry) => entry.endpoint !== endpoint);
  }

  /** What happens to this request: the sum of all latencies, in milliseconds, and the first other fault. */
  take(request: LoggedRequest): { latency: number; fault: Fault | undefined } {
    let latency = 0;
    let found: Fault | undefined;
    for (const entry of this.active) {
      const { fault } = entry;
      if (!isFor(request, entry.endpoint) || entry.hits >= (fault.times ?? Infinity)) continue;
      if (fault.kind !== 'latency' && found) continue;
      if (fault.when && !fault.when(request)) continue;
      if (entry.passed < (fault.after ?? 0)) {
        entry.passed += 1;
        continue;
      }
      entry.hits += 1;
      if (fault.kind === 'latency') latency += pick(fault.ms);
      else found = fault;
    }
    return { latency, fault: found };
  }
}

function pick(ms: number | [number, number]): number {
  return typeof ms === 'number' ? ms : ms[0] + Math.random() * (ms[1] - ms[0]);
}
