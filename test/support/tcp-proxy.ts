// A TCP proxy in front of Postgres or a provider that can be cut, stalled, delayed and refused at any moment.
import { once } from 'node:events';
import { createConnection, createServer, type AddressInfo, type Server, type Socket } from 'node:net';

/** One connection through the proxy. */
export interface ProxiedConnection {
  /** 1 for the first connection accepted. */
  readonly id: number;
  readonly client: Socket;
  readonly server: Socket;
  /** Ends both sides at once, with a reset, as when a machine dies. */
  cut(): void;
}

/** Options of {@link startTcpProxy}. */
export interface TcpProxyOptions {
  /** Where connections go: a URL with a port (or of a scheme with a known one), or host and port. */
  target: string | { host: string; port: number };
  /** TCP port to listen on. By default a free one. */
  port?: number;
  /** Called with what the client sent, before it is passed on. What it returns is passed on instead; nothing if null. */
  onClientData?: (chunk: Buffer, connection: ProxiedConnection) => Buffer | null;
  /** The same for what the server sent. */
  onServerData?: (chunk: Buffer, connection: ProxiedConnection) => Buffer | null;
}

const KNOWN_PORTS: Record<string, number> = { 'postgres:': 5432, 'postgresql:': 5432, 'http:': 80, 'https:': 443 };

/** Starts a proxy on 127.0.0.1. */
export async function startTcpProxy(options: TcpProxyOptions): Promise<TcpProxy> {
  const proxy = new TcpProxy(options);
  await proxy.allow();
  return proxy;
}

/** See {@link startTcpProxy}. */
export class TcpProxy implements AsyncDisposable {
  /** The port it listens on; the same after {@link refuse} and {@link allow}. */
  port: number;
  /** How many connections were accepted so far. */
  accepted = 0;
  /** Bytes passed on, in each direction. */
  bytesToServer = 0;
  bytesToClient = 0;
  /** The connections open now. */
  readonly connections = new Set<ProxiedConnection>();

  private readonly target: { host: string; port: number };
  private server: Server | undefined;
  private stalled = false;
  private closed = false;
  private delayed = 0;
  private waiting: (() => void)[] = [];

  constructor(private readonly options: TcpProxyOptions) {
    this.target = typeof options.target === 'string' ? hostAndPort(options.target) : options.target;
    this.port = options.port ?? 0;
  }

  /** The given URL with this proxy in the place of its host and port. */
  urlFor(url: string): string {
    const proxied = new URL(url);
    proxied.hostname = '127.0.0.1';
    proxied.port = String(this.port);
    return proxied.href;
  }

  /** Resets every open connection. New ones are still accepted: follow {@link refuse} by this for a dead machine. */
  cut(): void {
    for (const connection of this.connections) connection.cut();
  }

  /** Lets nothing more through in either direction, on open and on new connections, until {@link resume}. */
  stall(): void {
    this.stalled = true;
  }

  /** Delays every chunk in each direction by this many milliseconds; 0 for none. */
  delay(milliseconds: number): void {
    this.delayed = milliseconds;
  }

  /** Stops listening: new connections get ECONNREFUSED, open ones live on. */
  async refuse(): Promise<void> {
    const server = this.server;
    this.server = undefined;
    // `close` calls back only once every connection has ended; the port is free at once.
    server?.close();
    await new Promise((done) => setImmediate(done));
  }

  /** Listens again, on the same port. */
  async allow(): Promise<void> {
    if (this.server) return;
    this.server = createServer({ allowHalfOpen: true }, (client) => this.accept(client)).listen(this.port, '127.0.0.1');
    await once(this.server, 'listening');
    this.port = (this.server.address() as AddressInfo).port;
  }

  /** Undoes {@link stall}, {@link delay} and {@link refuse}; what was held back goes through in order. */
  async resume(): Promise<void> {
    this.stalled = false;
    this.delayed = 0;
    for (const wake of this.waiting.splice(0)) wake();
    await this.allow();
  }

  /** Ends everything. */
  async close(): Promise<void> {
    this.closed = true;
    await this.refuse();
    this.cut();
    for (const wake of this.waiting.splice(0)) wake();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  private accept(client: Socket): void {
    const server = createConnection({ ...this.target, allowHalfOpen: true });
    const connection: ProxiedConnection = {
      id: ++this.accepted,
      client,
      server,
      cut() {
        client.resetAndDestroy();
        server.resetAndDestroy();
      },
    };
    this.connections.add(connection);
    this.pass(client, server, (chunk) => {
      const sent = this.options.onClientData ? this.options.onClientData(chunk, connection) : chunk;
      this.bytesToServer += sent?.length ?? 0;
      return sent;
    });
    this.pass(server, client, (chunk) => {
      const sent = this.options.onServerData ? this.options.onServerData(chunk, connection) : chunk;
      this.bytesToClient += sent?.length ?? 0;
      return sent;
    });
    client.on('close', () => this.connections.delete(connection));
  }

  /** Passes one direction on, chunk by chunk in order, through whatever trouble is on. */
  private pass(from: Socket, to: Socket, edit: (chunk: Buffer) => Buffer | null): void {
    from.setNoDelay(true);
    let previous = Promise.resolve();
    const enqueue = (work: () => void) => (previous = previous.then(() => this.trouble()).then(work));
    from.on('data', (chunk: Buffer) => {
      from.pause();
      void enqueue(() => {
        const sent = edit(chunk);
        if (sent && !to.destroyed) to.write(sent);
        from.resume();
      });
    });
    from.on('end', () => void enqueue(() => to.end()));
    from.on('error', () => to.destroy());
    from.on('close', (failed) => failed && to.destroy());
  }

  private async trouble(): Promise<void> {
    if (this.delayed > 0) await new Promise((done) => setTimeout(done, this.delayed));
    while (this.stalled && !this.closed) await new Promise<void>((wake) => this.waiting.push(wake));
  }
}

function hostAndPort(url: string): { host: string; port: number } {
  const { protocol, hostname, port } = new URL(url);
  return { host: hostname.replace(/^\[|\]$/g, ''), port: Number(port) || (KNOWN_PORTS[protocol] ?? 0) };
}
