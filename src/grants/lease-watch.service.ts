// Waiting for a grant that somebody else is refreshing: woken by a notification, and by one shared poll of all grants
// waited for, in case it never comes. No connection is held meanwhile.
import { Injectable } from '@nestjs/common';
import { Listener } from '../database/listener.service.js';
import { GRANT_CHANNEL, LeaseRepository } from './lease.repository.js';

/** Time between two polls, milliseconds. One statement a poll, however many grants are waited for. */
const POLL_INTERVAL = 50;

interface Waiter {
  grantId: string;
  version: number;
  wake: () => void;
}

/** Wakes those who wait for a lease to end. */
@Injectable()
export class LeaseWatch {
  readonly #waiting = new Map<string, Set<Waiter>>();
  #timer: NodeJS.Timeout | undefined;
  #polling = false;
  #closed = false;
  #stopListening: (() => void) | undefined;

  constructor(
    private readonly leases: LeaseRepository,
    private readonly listener: Listener,
  ) {}

  /** Resolves when the lease of a grant seems to be over or its version moved, or after `patience` milliseconds. Look again then. */
  async changed(grantId: string, version: number, patience: number): Promise<void> {
    if (this.#closed) return;
    this.#stopListening ??= this.listener.listen(GRANT_CHANNEL, (payload) => this.#wake(payload));
    let timer: NodeJS.Timeout | undefined;
    let waiter: Waiter | undefined;
    await new Promise<void>((resolve) => {
      waiter = { grantId, version, wake: resolve };
      const waiters = this.#waiting.get(grantId) ?? new Set();
      this.#waiting.set(grantId, waiters.add(waiter));
      timer = setTimeout(resolve, Math.max(0, patience)).unref();
      this.#timer ??= setTimeout(() => void this.#poll(), POLL_INTERVAL);
    });
    clearTimeout(timer);
    const waiters = this.#waiting.get(grantId);
    if (waiters?.delete(waiter!) && waiters.size === 0) this.#waiting.delete(grantId);
  }

  /** Wakes everybody, for good: whoever asks for leases closes it, and does not ask again. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#stopListening?.();
    for (const grantId of [...this.#waiting.keys()]) this.#wake(grantId);
  }

  async #poll(): Promise<void> {
    if (this.#polling) return;
    this.#polling = true;
    try {
      const asked = [...this.#waiting.keys()];
      const busy = new Map((await this.leases.leased(asked)).map((row) => [row.id, row.version]));
      for (const grantId of asked)
        for (const waiter of this.#waiting.get(grantId) ?? []) if (busy.get(grantId) !== waiter.version) waiter.wake();
    } catch {
      // The waiters' own patience ends their waiting; the next poll may succeed.
    } finally {
      this.#polling = false;
      this.#timer =
        this.#closed || this.#waiting.size === 0 ? undefined : setTimeout(() => void this.#poll(), POLL_INTERVAL);
    }
  }

  #wake(grantId: string): void {
    for (const waiter of this.#waiting.get(grantId) ?? []) waiter.wake();
  }
}
