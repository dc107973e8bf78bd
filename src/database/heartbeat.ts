// Proves that a listening connection hears what the pool's database tells: heartbeats are sent over the pool and heard on
// that connection. One per connection; where it stops, the connection is of no use any more.
import { randomId } from '../crypto/random.js';
import { ClockWatch } from './clock-watch.js';
import type { Queryable } from './queryable.js';

/** What is needed of the listening connection. */
interface Listening {
  query(text: string): Promise<unknown>;
}

/** One heartbeat under way; times are monotonic milliseconds. */
interface Beat {
  readonly id: string;
  readonly at: number;
  /** When the pool's database said that it is sent. */
  answeredAt?: number;
  /** It was heard on the listening connection. */
  heard?: boolean;
  /** Not heard so far, although the listening connection was asked and answered; undefined until it is asked. */
  missed?: boolean;
}

/** How a heartbeat goes, and who is told. */
export interface HeartbeatPlan {
  /** Milliseconds between two. */
  readonly interval: number;
  /** For how long one that was sent may stay unheard, milliseconds. */
  readonly patience: number;
  /** One was sent. @param queueUsage share of the notification queue that is full */
  sent(queueUsage: number): void;
  /** One came back. */
  beaten(): void;
  /** The connection is not to be relied on any more. @param elsewhere it leads to another database than the pool */
  lost(elsewhere: boolean): void;
}

/** The heartbeat of one connection. */
export class Heartbeat {
  /** Comes back to this connection alone. */
  readonly #channel = `oauth_heartbeat_${randomId().replaceAll('-', '')}`;
  readonly #clocks = new ClockWatch();
  #sent: Beat | undefined;
  #lastBeat = -Infinity;
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;

  /** @param pool the database that notifications are to come from */
  constructor(
    private readonly connection: Listening,
    private readonly pool: Queryable,
    private readonly plan: HeartbeatPlan,
  ) {}

  /** Milliseconds since the last heartbeat that came back was sent. */
  get age(): number {
    return performance.now() - this.#lastBeat;
  }

  /** Listens; then {@link start} may begin. */
  async listen(): Promise<void> {
    await this.connection.query(`listen "${this.#channel}"`);
  }

  /** Sends heartbeats one after the other, until it is stopped. */
  start(): void {
    if (this.#stopped) return;
    if (!this.#sent) this.#send();
    else if (!this.#isPatient(this.#sent)) return;
    this.#timer = setTimeout(() => this.start(), this.plan.interval).unref();
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  /** Takes a notification. @returns false for one that is no heartbeat */
  hears(channel: string, payload: string): boolean {
    if (channel !== this.#channel) return false;
    if (this.#sent?.id === payload) {
      this.#sent.heard = true;
      this.#count(this.#sent);
    }
    return true;
  }

  /** One counts once it was heard and its answer was judged, in whatever order they come over two connections. */
  #count(sent: Beat): void {
    if (this.#sent !== sent || !sent.heard || sent.answeredAt === undefined) return;
    this.#lastBeat = sent.at;
    this.#sent = undefined;
    this.plan.beaten();
  }

  /** One that the pool could not send says nothing about the connection: it is only late, and the next is tried an interval later. */
  #send(): void {
    const sent: Beat = { id: randomId(), at: performance.now() };
    this.#sent = sent;
    this.pool
      .query<{ usage: number; clock: number }>(
        `select pg_notify($1, $2), pg_notification_queue_usage() as usage, date_part('epoch', clock_timestamp()) * 1000 as clock`,
        [this.#channel, sent.id],
      )
      .then(
        ([row]) => {
          if (this.#stopped) return;
          this.plan.sent(row?.usage ?? 0);
          // As good as a lost connection: all begin anew.
          if (row && this.#clocks.hasJumped(row.clock, sent.at)) return this.plan.lost(false);
          sent.answeredAt = performance.now();
          this.#count(sent);
        },
        () => {
          if (this.#sent === sent) this.#sent = undefined;
        },
      );
  }

  /** @returns false when it took too long, and the connection was given up: opened anew it may lead elsewhere */
  #isPatient(sent: Beat): boolean {
    if (sent.answeredAt === undefined) return true;
    if (sent.missed === undefined) {
      sent.missed = false;
      // Its own database has delivered by then what there was: what is not heard after that was sent in another one.
      this.connection.query(`listen "${this.#channel}"`).then(
        () => (sent.missed = !sent.heard),
        () => this.plan.lost(false),
      );
    }
    if (performance.now() <= sent.answeredAt + this.plan.patience) return true;
    this.plan.lost(sent.missed);
    return false;
  }
}
