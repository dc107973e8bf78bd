// Holds every refresh at the provider twice, before and after it is processed, until a test lets it go on.
import type { FakeProvider, LoggedRequest } from '../../../src/testing/index.js';

/** A refresh that stands at the provider. */
export interface HeldRefresh {
  readonly request: LoggedRequest;
  readonly at: 'before' | 'after';
  readonly release: () => void;
}

/** All refreshes that stand at the provider. */
export class HeldRefreshes {
  readonly held: HeldRefresh[] = [];
  /** Refresh tokens of which an answer may have been lost. */
  readonly struck = new Set<string>();
  readonly #unheard = new Set<LoggedRequest>();
  readonly #dead = new Set<string>();
  readonly #broughtBy = new Map<string, LoggedRequest>();
  #open = true;

  constructor(private readonly provider: FakeProvider) {
    const wait = (at: HeldRefresh['at']) => (request: LoggedRequest) => {
      // Sent by a process that was alive then, and is not any more.
      if (this.#dead.has(senderOf(request))) this.strike(request);
      return this.#open ? undefined : new Promise<void>((release) => this.held.push({ request, at, release }));
    };
    provider.interpose('refresh', { before: wait('before'), after: wait('after') });
    provider.tamper('tokenResponse', (body, { request }) => {
      if (request && typeof body.refresh_token === 'string') this.#broughtBy.set(body.refresh_token, request);
    });
  }

  /** Forgets earlier runs. */
  clear(): void {
    for (const all of [this.struck, this.#unheard, this.#broughtBy]) all.clear();
  }

  /** The answer to this one may be lost. */
  strike(request: LoggedRequest): void {
    this.struck.add(tokenOf(request));
    this.#unheard.add(request);
  }

  /** True for a refresh token that was issued in an answer which may be lost: nobody but the provider may know it. */
  isUnknown(refreshToken: string): boolean {
    const request = this.#broughtBy.get(refreshToken);
    return request !== undefined && this.#unheard.has(request);
  }

  /** Holds what comes from now on. */
  close(): void {
    this.#open = false;
  }

  /** Lets everything go on, also what comes. */
  open(): void {
    this.#open = true;
    for (const { release } of this.held.splice(0)) release();
  }

  /** Lets one go on to where it is held next. */
  release(index: number): void {
    const [one] = this.held.splice(index % Math.max(1, this.held.length), 1);
    one?.release();
  }

  /** Processes one that was not processed yet, and loses the answer. */
  lose(index: number): void {
    const one = this.#takeUnprocessed(index);
    if (!one) return;
    this.strike(one.request);
    this.provider.fault('refresh', { kind: 'lostAnswer', when: (request) => request === one.request });
    one.release();
  }

  /** Turns one away that was not processed yet. */
  refuse(index: number): void {
    const one = this.#takeUnprocessed(index);
    if (!one) return;
    this.provider.fault('refresh', { kind: 'status', status: 503, when: (request) => request === one.request });
    one.release();
  }

  /** Whoever sent these will never learn what became of them, nor of those that are still on their way here. */
  orphan(by: string): void {
    this.#dead.add(by);
    for (const { request } of this.held) if (senderOf(request) === by) this.strike(request);
  }

  #takeUnprocessed(index: number): HeldRefresh | undefined {
    const unprocessed = this.held.filter(({ at }) => at === 'before');
    const one = unprocessed[index % Math.max(1, unprocessed.length)];
    if (one) this.held.splice(this.held.indexOf(one), 1);
    return one;
  }
}

/** The refresh token that a request brought. */
export function tokenOf(request: LoggedRequest): string {
  return request.form.get('refresh_token') ?? '';
}

/** Name of the application that sent a request. */
export function senderOf(request: LoggedRequest): string {
  return request.query.get('by') ?? '';
}
