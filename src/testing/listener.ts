// One listening HTTP(S) server on loopback that can vanish and come back on the same port.
import { createServer, type IncomingMessage, type RequestListener, type Server } from 'node:http';
import { createServer as createTlsServer, type ServerOptions as TlsOptions } from 'node:https';
import type { AddressInfo } from 'node:net';
import { TLSSocket } from 'node:tls';
import type { PeerCertificate } from './client-auth.js';

/** Access tokens of 64 KB travel in a header; Node's own limit is 16 KB. */
const MAX_HEADER_BYTES = 256 * 1024;

/** Certificate and key of an https provider; with `ca` clients may present certificates of that authority. */
export type FakeTls = Pick<TlsOptions, 'key' | 'cert' | 'ca' | 'pfx' | 'passphrase'>;

/** Where and how to listen. */
export interface ListenerOptions {
  /** 0 takes any free port. */
  port: number;
  /** Host name in URLs; the socket is bound to 127.0.0.1 whatever it says. */
  host: string;
  tls: FakeTls | undefined;
}

/** A server and its origin. */
export class Listener {
  private server: Server | undefined;
  private port: number;

  constructor(
    private readonly options: ListenerOptions,
    private readonly handle: RequestListener,
  ) {
    this.port = options.port;
  }

  /** Scheme, host and port; right once `up()` has resolved. */
  get origin(): string {
    return `${this.options.tls ? 'https' : 'http'}://${this.options.host}:${this.port}`;
  }

  /** Begins to listen, on the same port as before if it did already; nothing where it still does. */
  async up(): Promise<void> {
    if (this.server) return;
    const { tls } = this.options;
    const server = tls
      ? createTlsServer(
          { ...tls, maxHeaderSize: MAX_HEADER_BYTES, requestCert: tls.ca !== undefined, rejectUnauthorized: false },
          this.handle,
        )
      : createServer({ maxHeaderSize: MAX_HEADER_BYTES }, this.handle);
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(this.port, '127.0.0.1', () => {
        server.off('error', reject);
        resolve();
      });
    });
    this.port = (server.address() as AddressInfo).port;
    this.server = server;
  }

  /** Stops listening and drops all connections. */
  async down(): Promise<void> {
    const { server } = this;
    this.server = undefined;
    if (!server) return;
    await new Promise<void>((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
  }
}

/** What the TLS layer says about the caller. */
export function peerOf(message: IncomingMessage): PeerCertificate {
  const { socket } = message;
  if (!(socket instanceof TLSSocket) || !socket.authorized) return {};
  const name: string | string[] | undefined = socket.getPeerCertificate().subject?.CN;
  return { commonName: Array.isArray(name) ? name[0] : name };
}
