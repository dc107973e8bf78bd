// Removes what has expired, in small batches, past rows that others hold: harmless with any number of instances.
import { Injectable, Logger, type OnApplicationBootstrap, type OnApplicationShutdown } from '@nestjs/common';
import { ResolvedOptions } from '../options/resolve-options.js';
import { SessionRepository } from '../sessions/session.repository.js';
import { StateRepository } from '../state/state.repository.js';

/** Batches of one table in one round: a flood is worked off over several rounds, without hogging the database. */
const MAX_BATCHES = 50;

/** Cleans up at intervals. */
@Injectable()
export class Cleanup implements OnApplicationBootstrap, OnApplicationShutdown {
  readonly #logger = new Logger('OAuth');
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> | undefined;

  constructor(
    private readonly states: StateRepository,
    private readonly sessions: SessionRepository,
    private readonly options: ResolvedOptions,
  ) {}

  onApplicationBootstrap(): void {
    const { cleanup } = this.options;
    if (cleanup) this.#timer = setInterval(() => void this.run(), cleanup.interval * 1000).unref();
  }

  async onApplicationShutdown(): Promise<void> {
    clearInterval(this.#timer);
    await this.#running;
  }

  /** One round. Failures are logged; the next round tries again. */
  run(): Promise<void> {
    this.#running ??= this.#round().finally(() => (this.#running = undefined));
    return this.#running;
  }

  async #round(): Promise<void> {
    const batchSize = this.options.cleanup ? this.options.cleanup.batchSize : 1_000;
    // Touches are written behind: a session may have been used although its row does not say so yet.
    const grace = 2 * this.options.session.touchInterval;
    try {
      await drain(() => this.states.removeExpired(batchSize), batchSize);
      await drain(async () => (await this.sessions.removeExpired(batchSize, grace)).length, batchSize);
    } catch (error) {
      this.#logger.warn(`cleanup was broken off: ${error instanceof Error ? error.message : 'unknown error'}`);
    }
  }
}

async function drain(removeBatch: () => Promise<number>, batchSize: number): Promise<void> {
  for (let batch = 0; batch < MAX_BATCHES; batch++) if ((await removeBatch()) < batchSize) return;
}
