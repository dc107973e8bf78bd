// How logins ended, noted in their rows; also when the database is away at that moment, which is often why they ended.
// A callback that comes again then gets the answer at once instead of waiting for a first one that has long failed.
import { setTimeout as sleep } from 'node:timers/promises';
import { type BeforeApplicationShutdown, Injectable, Logger } from '@nestjs/common';
import type { OAuthErrorCode } from '../errors/error-codes.js';
import { ResolvedOptions } from '../options/resolve-options.js';
import { StateRepository } from './state.repository.js';

/** Notes kept for later at most; of more, the oldest are given up. */
const MAX_KEPT = 10_000;
/** Pauses while the database is away, milliseconds. */
const FIRST_PAUSE = 100;
const MAX_PAUSE = 1_000;

interface Note {
  readonly stateHash: Buffer;
  readonly code: OAuthErrorCode;
  /** The row is gone by then; monotonic milliseconds. */
  readonly until: number;
}

/** Notes how logins failed. */
@Injectable()
export class OutcomeNotes implements BeforeApplicationShutdown {
  readonly #logger = new Logger('OAuth');
  readonly #kept = new Map<string, Note>();
  #working: Promise<void> | undefined;
  #stopping = false;

  constructor(
    private readonly states: StateRepository,
    private readonly options: ResolvedOptions,
  ) {}

  /** Notes a failure, and waits for it; while the database is away, goes on trying behind. Never throws. */
  async note(stateHash: Buffer, code: OAuthErrorCode): Promise<void> {
    // Who fails because the database is away does not wait for it once more.
    if (code === 'database_unavailable') return this.#keep(stateHash, code);
    try {
      await this.states.close(stateHash, `failed:${code}`);
    } catch {
      this.#keep(stateHash, code);
    }
  }

  /** What is not in the row yet. */
  pending(stateHash: Buffer): OAuthErrorCode | undefined {
    return this.#kept.get(keyOf(stateHash))?.code;
  }

  /** The login goes on after all. */
  forget(stateHash: Buffer): void {
    this.#kept.delete(keyOf(stateHash));
  }

  /** One more try for each; a database that is away is not waited for. */
  async beforeApplicationShutdown(): Promise<void> {
    this.#stopping = true;
    await this.#working;
  }

  #keep(stateHash: Buffer, code: OAuthErrorCode): void {
    const [oldest] = this.#kept.keys();
    if (this.#kept.size >= MAX_KEPT && oldest !== undefined) this.#kept.delete(oldest);
    const until = performance.now() + this.options.login.stateLifetime * 1000;
    this.#kept.set(keyOf(stateHash), { stateHash, code, until });
    this.#working ??= this.#work().finally(() => (this.#working = undefined));
  }

  /** One after the other: a database that comes back is not greeted by all of them at once. */
  async #work(): Promise<void> {
    let pause = FIRST_PAUSE;
    for (let [entry] = this.#kept; entry; [entry] = this.#kept) {
      const [key, note] = entry;
      try {
        if (performance.now() < note.until) await this.states.close(note.stateHash, `failed:${note.code}`);
        // A newer note of the same login stays.
        if (this.#kept.get(key) === note) this.#kept.delete(key);
        pause = FIRST_PAUSE;
      } catch (error) {
        if (this.#stopping) {
          const reason = error instanceof Error ? error.message : 'unknown error';
          this.#logger.warn(`the outcomes of ${this.#kept.size} failed logins could not be noted: ${reason}`);
          return;
        }
        await sleep(pause, undefined, { ref: false });
        pause = Math.min(MAX_PAUSE, pause * 2);
      }
    }
  }
}

function keyOf(stateHash: Buffer): string {
  return stateHash.toString('base64url');
}
