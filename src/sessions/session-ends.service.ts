// Tells when sessions end, wherever that happens: for WebSockets and server-sent events, which no guard sees again.
import { type BeforeApplicationShutdown, Injectable, type OnApplicationShutdown } from '@nestjs/common';
import { Observable, Subject, type Subscriber } from 'rxjs';
import { Listener } from '../database/listener.service.js';
import { OAuthEvents } from '../events/oauth-events.service.js';
import { ResolvedOptions } from '../options/resolve-options.js';
import type { OAuthSession } from '../options/session.js';
import { SESSIONS_CHANNEL } from './session-cache.service.js';
import { SessionRepository } from './session.repository.js';

/** Most ended sessions that are remembered. */
const MAX_REMEMBERED = 1_000;

/** Watches sessions that are in use without requests. */
@Injectable()
export class SessionEnds implements BeforeApplicationShutdown, OnApplicationShutdown {
  /** Ids of sessions that ended: all that end in this process, and watched ones that end elsewhere or expire. */
  readonly ended$: Observable<string>;
  readonly #ended = new Subject<string>();
  readonly #watched = new Map<string, Set<Subscriber<void>>>();
  /** Those that ended last: one may end after it was found (while `loadUser` is asked, say) and before it is watched. */
  readonly #over = new Set<string>();
  #timer: NodeJS.Timeout | undefined;
  #looking = false;
  /** Something may have ended since the last look began. */
  #asked = false;
  #shutDown = false;
  #unlisten: (() => void) | undefined;

  constructor(
    private readonly sessions: SessionRepository,
    private readonly listener: Listener,
    events: OAuthEvents,
    private readonly options: ResolvedOptions,
  ) {
    this.ended$ = this.#ended.asObservable();
    events.on('logout', ({ sessionIds }) => sessionIds.forEach((id) => this.#end(id)));
  }

  /**
   * Emits once and completes when this session has ended: at once when it ends in this process, within the staleness
   * bound when it ends elsewhere or expires, within milliseconds with the coherent cache. Shutting down completes it without a value.
   */
  ends(session: OAuthSession | string): Observable<void> {
    const id = typeof session === 'string' ? session : session.id;
    return new Observable((subscriber) => {
      const over = this.#over.has(id);
      if (over) subscriber.next();
      if (over || this.#shutDown) return subscriber.complete();
      const watchers = this.#watched.get(id) ?? new Set();
      watchers.add(subscriber);
      this.#watched.set(id, watchers);
      this.#start();
      return () => {
        watchers.delete(subscriber);
        if (watchers.size === 0 && this.#watched.get(id) === watchers) this.#watched.delete(id);
        if (this.#watched.size === 0) this.#stop();
      };
    });
  }

  /** Before the server closes, which waits for the very streams that are to end by this. */
  beforeApplicationShutdown(): void {
    this.#shutDown = true;
    this.#stop();
    for (const watchers of [...this.#watched.values()]) for (const watcher of [...watchers]) watcher.complete();
  }

  onApplicationShutdown(): void {
    this.#ended.complete();
  }

  #start(): void {
    if (this.#timer) return;
    this.#timer = setInterval(() => void this.#look(), this.options.session.stalenessBound * 1000).unref();
    if (this.options.session.cache !== 'coherent') return;
    // A notification says that a session was changed, which need not be its end.
    this.#unlisten = this.listener.listen(SESSIONS_CHANNEL, (payload) => {
      if (payload === '*' || payload.split(',').some((id) => this.#watched.has(id))) void this.#look();
    });
  }

  #stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#unlisten?.();
    this.#unlisten = undefined;
  }

  /** One query for all that are watched. While the database is away nothing is known, and nothing ends. */
  async #look(): Promise<void> {
    this.#asked = true;
    if (this.#looking) return;
    this.#looking = true;
    // Once more when asked meanwhile: what was just read may be older.
    while (this.#asked && this.#watched.size > 0) {
      this.#asked = false;
      const ids = [...this.#watched.keys()];
      try {
        const alive = new Set(await this.sessions.aliveAmong(ids));
        for (const id of ids) if (!alive.has(id)) this.#end(id);
      } catch {
        // The next look will tell.
      }
    }
    this.#looking = false;
  }

  #end(id: string): void {
    const watchers = this.#watched.get(id);
    this.#watched.delete(id);
    this.#remember(id);
    this.#ended.next(id);
    for (const watcher of watchers ?? []) {
      watcher.next();
      watcher.complete();
    }
    if (this.#watched.size === 0) this.#stop();
  }

  #remember(id: string): void {
    this.#over.add(id);
    if (this.#over.size <= MAX_REMEMBERED) return;
    const [first] = this.#over;
    this.#over.delete(first!);
  }
}
