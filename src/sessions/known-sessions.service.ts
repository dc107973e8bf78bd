// Sessions that were read before, with the versions of their rows: while the database says that a session is alive in the
// same version, nothing of it need be sent again. It never answers by itself; that is for the coherent cache.
import { Injectable } from '@nestjs/common';
import { ResolvedOptions } from '../options/resolve-options.js';
import type { FoundSession } from './session-record.js';

/**
 * Read anew after that long, milliseconds: then a profile that somebody changed by hand shows, and long before that
 * transactions could be counted round to the same number.
 */
const MAX_AGE = 60_000;

/** Lookups that find nothing for each that does, up to which remembering pays: measured, what keeping costs of what finding saves. */
const MOST_MISSES = 2;
/** Where it does not pay, it is tried again after so many times the sessions of a generation. */
const PAUSE = 4;

interface Known {
  readonly found: FoundSession;
  /** Monotonic milliseconds. */
  readonly readAt: number;
}

/**
 * At most `session.cacheSize` of them, in two generations: what was not used in the time of one is forgotten. With many more
 * sessions in use than that, hardly one is found again before it is forgotten; most are not even kept then.
 */
@Injectable()
export class KnownSessions {
  readonly #generation: number;
  #young = new Map<string, Known>();
  #old = new Map<string, Known>();
  #hits = 0;
  #misses = 0;
  /** So many are not kept. */
  #pause = 0;

  constructor({ session }: ResolvedOptions) {
    // The coherent cache keeps the same sessions already.
    this.#generation = session.cache === 'coherent' ? 0 : Math.max(1, Math.floor(session.cacheSize / 2));
  }

  /** How many are kept now. */
  get size(): number {
    return this.#young.size + this.#old.size;
  }

  /** What was read of the session behind this hash of a cookie, base64. */
  get(hash: string): FoundSession | undefined {
    const young = this.#young.get(hash);
    const known = young ?? this.#old.get(hash);
    if (known === undefined || performance.now() - known.readAt > MAX_AGE) {
      this.#misses++;
      if (known) this.forget(hash);
      return undefined;
    }
    this.#hits++;
    if (!young) {
      this.#old.delete(hash);
      this.#keep(hash, known);
    }
    return known.found;
  }

  /** Keeps what was read. @param readAt before the query was sent, monotonic milliseconds */
  set(hash: string, found: FoundSession, readAt: number): void {
    if (this.#generation === 0) return;
    this.forget(hash);
    if (this.#pause > 0) this.#pause--;
    else this.#keep(hash, { found, readAt });
  }

  /** Forgets a session: it is no more, or has changed. */
  forget(hash: string): void {
    this.#young.delete(hash);
    this.#old.delete(hash);
  }

  #keep(hash: string, known: Known): void {
    if (this.#young.size >= this.#generation) {
      // Not judged before there was as much to find as there is room for: at first everything is missing.
      const full = this.#old.size > 0;
      this.#old = this.#young;
      this.#young = new Map();
      if (full && this.#misses > this.#hits * MOST_MISSES) this.#pause = this.#generation * PAUSE;
      this.#hits = this.#misses = 0;
    }
    this.#young.set(hash, known);
  }
}
