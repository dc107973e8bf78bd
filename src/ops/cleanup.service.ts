// Removes what has expired, in small batches, past rows that others hold: harmless with any number of instances.
import { setTimeout as sleep } from 'node:timers/promises';
import { Injectable, Logger, type OnApplicationBootstrap, type OnApplicationShutdown } from '@nestjs/common';
import { MAX_LOGOUT_TOKEN_AGE } from '../auth/logout-token.js';
import { LogoutRepository } from '../auth/logout.repository.js';
import { GrantEndRepository } from '../grants/grant-end.repository.js';
import { ResolvedOptions } from '../options/resolve-options.js';
import { SessionRepository } from '../sessions/session.repository.js';
import { StateRepository } from '../state/state.repository.js';

/** Batches of one table in one round; the next round goes on. */
const MAX_BATCHES = 10_000;
/** Least pause between two batches, milliseconds. After a slow one it is as long as that took: half the time is the application's. */
const PAUSE = 5;
/** Seen logout tokens are kept for longer than one is accepted. Seconds. */
const LOGOUT_TOKEN_LIFETIME = 2 * MAX_LOGOUT_TOKEN_AGE;

/** Cleans up at intervals. */
@Injectable()
export class Cleanup implements OnApplicationBootstrap, OnApplicationShutdown {
  readonly #logger = new Logger('OAuth');
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> | undefined;
  #stopped = false;

  constructor(
    private readonly states: StateRepository,
    private readonly sessions: SessionRepository,
    private readonly grants: GrantEndRepository,
    private readonly logouts: LogoutRepository,
    private readonly options: ResolvedOptions,
  ) {}

  onApplicationBootstrap(): void {
    const { cleanup } = this.options;
    if (cleanup) this.#timer = setInterval(() => void this.run(), cleanup.interval * 1000).unref();
  }

  async onApplicationShutdown(): Promise<void> {
    this.#stopped = true;
    clearInterval(this.#timer);
    await this.#running;
  }

  /** One round. Failures are logged; the next round tries again. */
  run(): Promise<void> {
    this.#running ??= this.#round().finally(() => (this.#running = undefined));
    return this.#running;
  }

  async #round(): Promise<void> {
    const size = this.options.cleanup ? this.options.cleanup.batchSize : 1_000;
    // Touches are written behind: a session may have been used although its row does not say so yet.
    const grace = 2 * this.options.session.touchInterval;
    const tasks: [name: string, removeBatch: () => Promise<number>][] = [
      ['pending logins', () => this.states.removeExpired(size)],
      ['unused sessions', () => this.sessions.removeExpired('idle_expires_at', size, grace)],
      ['old sessions', () => this.sessions.removeExpired('expires_at', size, grace)],
      ['logout tokens', () => this.logouts.removeExpired(size, LOGOUT_TOKEN_LIFETIME)],
      ['grants without their session', () => this.grants.removeOrphans(size)],
    ];
    for (const [name, removeBatch] of tasks) {
      try {
        await this.#drain(removeBatch, size);
      } catch (error) {
        this.#logger.warn(`cleanup of ${name}: ${error instanceof Error ? error.message : 'unknown error'}`);
      }
    }
  }

  async #drain(removeBatch: () => Promise<number>, size: number): Promise<void> {
    for (let batch = 0; batch < MAX_BATCHES && !this.#stopped; batch++) {
      const began = performance.now();
      if ((await removeBatch()) < size) return;
      await sleep(Math.max(PAUSE, performance.now() - began));
    }
  }
}
