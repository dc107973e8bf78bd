// LISTEN on one dedicated connection per process, opened when somebody first listens. It is an improvement, never a
// need: whoever listens also works without (by polling, or by asking the database), and can tell which it is.
import { setTimeout as sleep } from 'node:timers/promises';
import { Injectable, Logger, type OnApplicationShutdown } from '@nestjs/common';
import type { Client } from 'pg';
import { OAuthEvents } from '../events/oauth-events.service.js';
import { ResolvedOptions } from '../options/resolve-options.js';
import { Database } from './database.service.js';
import { Heartbeat } from './heartbeat.js';

/** First and longest pause between two attempts to connect, milliseconds. */
const FIRST_BACKOFF = 100;
const MAX_BACKOFF = 10_000;
/** Heartbeats where nobody needs them closer together, milliseconds. */
const RELAXED_HEARTBEAT = 5_000;
/** Share of the notification queue that worries: a full one makes every COMMIT that notifies fail. */
const QUEUE_ALARM = 0.5;

/** Time to say goodbye to the server at shutdown, milliseconds. */
const GOODBYE = 1_000;

/** What pg's client has besides its types. */
interface Streaming {
  connection?: { stream?: { destroy(): void } };
}

/** What a listener is told. */
export interface ChannelHandler {
  /** A notification arrived. */
  notified(payload: string): void;
  /** The connection was lost: notifications may have been missed from some time before now until the next {@link resumed}. */
  interrupted?(): void;
  /** `LISTEN` was acknowledged: from now on nothing is missed. */
  resumed?(): void;
}

/** Listens to notifications of Postgres. */
@Injectable()
export class Listener implements OnApplicationShutdown {
  readonly #logger = new Logger('OAuth');
  readonly #channels = new Map<string, Set<ChannelHandler>>();
  readonly #acknowledged = new Set<string>();
  #client: Client | undefined;
  #connecting = false;
  #impossible = false;
  #stopped = false;
  #backoff = FIRST_BACKOFF;
  #retry: NodeJS.Timeout | undefined;
  #heartbeat: Heartbeat | undefined;
  #queueAlarmed = false;
  #warnedOfAnother = false;

  constructor(
    private readonly database: Database,
    private readonly events: OAuthEvents,
    private readonly options: ResolvedOptions,
  ) {}

  /** Hears a channel from soon on. Returns at once. @returns a function that ends it */
  listen(channel: string, handler: ChannelHandler | ((payload: string) => void)): () => void {
    const entry: ChannelHandler = typeof handler === 'function' ? { notified: handler } : handler;
    const handlers = this.#channels.get(channel) ?? new Set<ChannelHandler>();
    handlers.add(entry);
    this.#channels.set(channel, handlers);
    if (this.#client) void this.#subscribe(this.#client, channel);
    else this.#connect();
    return () => {
      handlers.delete(entry);
      if (handlers.size > 0 || this.#channels.get(channel) !== handlers) return;
      this.#channels.delete(channel);
      if (this.#acknowledged.delete(channel)) this.#client?.query(`unlisten "${channel}"`).catch(() => undefined);
    };
  }

  /** True when the server has acknowledged `LISTEN` for this channel on the connection that is open now. */
  isListening(channel: string): boolean {
    return this.#acknowledged.has(channel);
  }

  /**
   * Milliseconds since the last heartbeat that came back was sent; Infinity without a connection. Heartbeats are sent over
   * the pool and heard on the listening connection, so both lead to one database. They travel through its notification
   * queue itself, which is in the order of commits whoever commits, and is delivered in that order: everything committed
   * before that moment has been delivered.
   */
  heartbeatAge(): number {
    return this.#heartbeat?.age ?? Infinity;
  }

  async onApplicationShutdown(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#retry);
    const client = this.#client;
    this.#disconnect();
    // A server that no longer answers is not waited for.
    await Promise.race([client?.end().catch(() => undefined), sleep(GOODBYE, undefined, { ref: false })]);
    client?.connection?.stream?.destroy();
  }

  #connect(): void {
    if (this.#connecting || this.#client || this.#stopped || this.#impossible || this.#channels.size === 0) return;
    this.#connecting = true;
    this.#open()
      .then(
        () => (this.#backoff = FIRST_BACKOFF),
        (error: unknown) => this.#tryLater(error),
      )
      .finally(() => (this.#connecting = false))
      .catch(() => undefined);
  }

  async #open(): Promise<void> {
    const { listenUrl } = this.options;
    if (listenUrl === null && !(await this.database.isDirect())) {
      this.#giveUp(
        'the connection goes through a transaction pooler; the option listen: { url } can name a direct one',
      );
      return;
    }
    const client = this.database.dedicatedClient(listenUrl);
    const lost = (): void => this.#lose(client);
    client.on('error', lost);
    client.on('end', lost);
    try {
      await client.connect();
      const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid');
      if (rows[0]?.pid !== (client as Client & { processID?: number }).processID) {
        this.#giveUp('listen.url leads to a transaction pooler, not to Postgres itself');
        await client.end();
        return;
      }
      if (this.#stopped) return await client.end();
      const heartbeat = this.#heartbeatOf(client);
      client.on('notification', ({ channel, payload = '' }) => {
        if (!heartbeat.hears(channel, payload)) this.#tell(channel, (handler) => handler.notified(payload));
      });
      await heartbeat.listen();
      this.#client = client;
      this.#heartbeat = heartbeat;
      await Promise.all([...this.#channels.keys()].map((channel) => this.#subscribe(client, channel)));
      heartbeat.start();
    } catch (error) {
      this.#lose(client);
      throw error;
    }
  }

  async #subscribe(client: Client, channel: string): Promise<void> {
    try {
      await client.query(`listen "${channel}"`);
      if (this.#client !== client || !this.#channels.has(channel) || this.#acknowledged.has(channel)) return;
      this.#acknowledged.add(channel);
      this.#tell(channel, (handler) => handler.resumed?.());
    } catch {
      this.#lose(client);
    }
  }

  #heartbeatOf(client: Client): Heartbeat {
    const { cache, stalenessBound } = this.options.session;
    const interval = cache === 'coherent' ? Math.min(RELAXED_HEARTBEAT, stalenessBound * 250) : RELAXED_HEARTBEAT;
    return new Heartbeat(client, this.database, {
      interval,
      patience: Math.max(this.options.databaseTimeout, 2 * interval),
      sent: (queueUsage) => this.#judgeQueue(queueUsage),
      beaten: () => (this.#warnedOfAnother = false),
      lost: (elsewhere) => {
        if (elsewhere) this.#warnOfAnother();
        this.#lose(client);
      },
    });
  }

  #warnOfAnother(): void {
    if (this.#warnedOfAnother) return;
    this.#warnedOfAnother = true;
    const way = this.options.listenUrl === null ? 'the listening connection' : 'listen.url';
    this.#logger.warn(
      `${way} leads to another database than the pool: notifications of the pool's are not heard. Everything works without them, some of it a little slower; let both lead to the same server and database.`,
    );
  }

  #judgeQueue(usage: number): void {
    if (usage > QUEUE_ALARM && !this.#queueAlarmed) {
      const message = `the notification queue of Postgres is ${Math.round(usage * 100)} % full: some session listens inside a transaction that does not end`;
      this.events.emit('alarm', { code: 'notification_queue', message });
    }
    this.#queueAlarmed = usage > QUEUE_ALARM;
  }

  #lose(client: Client): void {
    // Without waiting: a connection that no longer answers cannot be said goodbye to.
    (client as Client & Streaming).connection?.stream?.destroy();
    if (this.#client !== client) return;
    this.#disconnect();
    this.#tryLater();
  }

  #disconnect(): void {
    this.#heartbeat?.stop();
    this.#heartbeat = undefined;
    this.#client = undefined;
    const interrupted = [...this.#acknowledged];
    this.#acknowledged.clear();
    for (const channel of interrupted) this.#tell(channel, (handler) => handler.interrupted?.());
  }

  #tryLater(error?: unknown): void {
    if (this.#stopped || this.#impossible) return;
    if (error)
      this.#logger.debug(`LISTEN is not possible now: ${error instanceof Error ? error.message : 'unknown error'}`);
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => this.#connect(), this.#backoff * (0.75 + Math.random() / 2)).unref();
    this.#backoff = Math.min(MAX_BACKOFF, this.#backoff * 2);
  }

  #giveUp(reason: string): void {
    this.#impossible = true;
    this.#logger.warn(`LISTEN is not possible: ${reason}. Everything works without it, some of it a little slower.`);
  }

  #tell(channel: string, what: (handler: ChannelHandler) => void): void {
    for (const handler of [...(this.#channels.get(channel) ?? [])]) {
      try {
        what(handler);
      } catch (error) {
        this.#logger.error(
          `a listener of channel "${channel}" failed: ${error instanceof Error ? error.message : 'unknown error'}`,
        );
      }
    }
  }
}
