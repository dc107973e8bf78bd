// What a test can read back from a FakeProvider.
import type { FakeEndSession, FakeLogin, FakeRevocation, ProviderCore } from './core.js';
import { isFor, mentions, type Endpoint, type LoggedRequest } from './request-log.js';
import type { FakeCounters, IssuedSecret } from './token-store.js';

/** The readable side of a provider: requests, counters, everything issued. */
export class ProviderRecords {
  protected constructor(protected readonly core: ProviderCore) {}

  /** All requests since the last `clearRequests()`, in the order they arrived. */
  get requests(): readonly LoggedRequest[] {
    return this.core.requests;
  }

  /** The requests to one endpoint; `token` means both grant types. */
  requestsTo(endpoint: Endpoint): LoggedRequest[] {
    return this.core.requests.filter((request) => isFor(request, endpoint));
  }

  /** The requests that carried a text anywhere: address, headers or body. */
  requestsWith(text: string): LoggedRequest[] {
    return this.core.requests.filter((request) => mentions(request, text));
  }

  /** Empties the request log. */
  clearRequests(): void {
    this.core.requests.length = 0;
  }

  /** Every code and token ever issued, to look for in logs, pages and dumps. */
  get issued(): readonly IssuedSecret[] {
    return this.core.store.issued;
  }

  /** What happened so far: exchanges, refreshes, reuse, families lost. */
  get counters(): Readonly<FakeCounters> {
    return this.core.store.counters;
  }

  /** Refreshes carried out. */
  get refreshCount(): number {
    return this.counters.refreshes;
  }

  /** Refresh token families revoked because a spent token came back. */
  get familiesRevoked(): number {
    return this.counters.familiesRevoked;
  }

  /** Logins answered with a code, the latest last. */
  get logins(): readonly FakeLogin[] {
    return this.core.logins;
  }

  /** Revocation requests that were processed. */
  get revocations(): readonly FakeRevocation[] {
    return this.core.revocations;
  }

  /** Visits of the logout page. */
  get endSessions(): readonly FakeEndSession[] {
    return this.core.endSessions;
  }

  /** Whether an access or refresh token would be accepted now. */
  isActive(token: string): boolean {
    return this.core.store.isActive(token);
  }
}
