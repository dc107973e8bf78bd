// Sessions kept in memory, told of every change by Postgres. Whatever is not certain is a miss: no acknowledged LISTEN,
// a late heartbeat, triggers that replication silences, an expiry, an eviction since the query was sent.
import { Injectable, type OnApplicationBootstrap, type OnApplicationShutdown } from '@nestjs/common';
import { Listener } from '../database/listener.service.js';
import { OAuthConfigError } from '../errors/oauth-error.js';
import { OAuthEvents } from '../events/oauth-events.service.js';
import { ResolvedOptions } from '../options/resolve-options.js';
import type { FoundSession } from './session-record.js';
import { SessionRepository } from './session.repository.js';

/** Channel that the triggers of `oauthCacheMigrations` notify. */
export const SESSIONS_CHANNEL = 'oauth_sessions';
/** A hit moves an entry to the young end at most this often, milliseconds. */
const MOVE_INTERVAL = 1_000;
/** How often the triggers are looked at again, milliseconds. */
const TRIGGER_INTERVAL = 60_000;

/** One query under way: it knows what was evicted since it was sent. */
export interface LookupTicket {
  readonly sentAt: number;
  readonly generation: number;
  evicted: Set<string> | undefined;
}

interface Entry extends FoundSession {
  readonly key: string;
  /** From then on it must be read again: an expiry in memory may have been extended. Monotonic milliseconds. */
  readonly until: number;
  movedAt: number;
}

/** The coherent cache; it holds nothing where the option is off. */
@Injectable()
export class SessionCache implements OnApplicationBootstrap, OnApplicationShutdown {
  /** By key, the longest unused first. */
  readonly #entries = new Map<string, Entry>();
  readonly #byId = new Map<string, Entry>();
  readonly #open = new Set<LookupTicket>();
  readonly #bound: number;
  readonly #size: number;
  /** Entries with less idle time left than this must be read again: their touches are due. Milliseconds. */
  readonly #margin: number;
  readonly #enabled: boolean;
  #listening = false;
  #triggered = true;
  #watch: NodeJS.Timeout | undefined;
  #generation = 0;

  constructor(
    private readonly sessions: SessionRepository,
    private readonly listener: Listener,
    private readonly events: OAuthEvents,
    options: ResolvedOptions,
  ) {
    const { cache, cacheSize, stalenessBound, touchInterval } = options.session;
    this.#enabled = cache === 'coherent';
    this.#size = cacheSize;
    this.#bound = stalenessBound * 1000;
    this.#margin = 2 * touchInterval * 1000;
    // Here nobody waits for the notification.
    if (this.#enabled) events.on('logout', ({ sessionIds }) => sessionIds.forEach((id) => this.evict(id)));
  }

  /** @throws {OAuthConfigError} when the triggers are missing or not enabled always: revocations would go unnoticed */
  async onApplicationBootstrap(): Promise<void> {
    if (!this.#enabled) return;
    if (!(await this.sessions.hasTriggers()))
      throw new OAuthConfigError([
        `session.cache: 'coherent' needs the triggers of oauthCacheMigrations; add them to the migrations and run them, and if somebody has disabled one: alter table … enable always trigger …`,
      ]);
    this.#watch = setInterval(() => void this.checkTriggers(), TRIGGER_INTERVAL).unref();
    this.listener.listen(SESSIONS_CHANNEL, {
      notified: (payload) => (payload === '*' ? this.clear() : payload.split(',').forEach((id) => this.evict(id))),
      interrupted: () => {
        this.#listening = false;
        this.clear();
      },
      resumed: () => {
        this.clear();
        this.#listening = true;
      },
    });
  }

  onApplicationShutdown(): void {
    clearInterval(this.#watch);
  }

  /** Looks at the triggers again. While they are not enabled always, nothing is answered from memory. Never rejects. */
  async checkTriggers(): Promise<void> {
    // A database that is away says nothing about its triggers.
    const triggered = await this.sessions.hasTriggers().catch(() => this.#triggered);
    if (triggered === this.#triggered) return;
    // What was kept meanwhile may have changed unnoticed.
    this.clear();
    this.#triggered = triggered;
    if (triggered) return;
    const message = `a trigger of oauthCacheMigrations is gone or not enabled always: sessions are not answered from memory until it is (alter table … enable always trigger …)`;
    this.events.emit('alarm', { code: 'cache_triggers', message });
  }

  /** Sessions held now. */
  get size(): number {
    return this.#entries.size;
  }

  /** True while entries may be believed. */
  get isCoherent(): boolean {
    return this.#listening && this.#triggered && this.listener.heartbeatAge() < this.#bound;
  }

  /** The cached session of a key, if it is certain that it is alive and unchanged. */
  get(key: string): FoundSession | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined || !this.isCoherent) return undefined;
    const at = performance.now();
    if (at >= entry.until) return undefined;
    if (at - entry.movedAt > MOVE_INTERVAL) {
      entry.movedAt = at;
      this.#entries.delete(key);
      this.#entries.set(key, entry);
    }
    return entry;
  }

  /** Call it before a query is sent. Null where nothing could be stored anyway. */
  open(): LookupTicket | null {
    if (!this.#listening) return null;
    const ticket: LookupTicket = { sentAt: performance.now(), generation: this.#generation, evicted: undefined };
    this.#open.add(ticket);
    return ticket;
  }

  /** Call it when the query has failed or its rows are stored. */
  close(ticket: LookupTicket | null): void {
    if (ticket) this.#open.delete(ticket);
  }

  /** Keeps a row of a query, unless anything happened to it since the query was sent. */
  store(ticket: LookupTicket | null, key: string, { record, clock, seenAt }: FoundSession): void {
    if (!ticket || ticket.generation !== this.#generation || ticket.evicted?.has(record.id)) return;
    this.evictEntry(this.#byId.get(record.id));
    const until = Math.min(record.expires_at, record.idle_expires_at - this.#margin) - clock;
    const entry: Entry = { record, version: '', clock, seenAt, key, until, movedAt: ticket.sentAt };
    this.#entries.set(key, entry);
    this.#byId.set(record.id, entry);
    if (this.#entries.size > this.#size) this.evictEntry(this.#entries.values().next().value);
  }

  /** Forgets a session, also for queries under way. */
  evict(id: string): void {
    for (const ticket of this.#open) (ticket.evicted ??= new Set()).add(id);
    this.evictEntry(this.#byId.get(id));
  }

  /** Forgets everything, also for queries under way. */
  clear(): void {
    this.#generation++;
    this.#entries.clear();
    this.#byId.clear();
  }

  private evictEntry(entry: Entry | undefined): void {
    if (!entry) return;
    this.#entries.delete(entry.key);
    this.#byId.delete(entry.record.id);
  }
}
