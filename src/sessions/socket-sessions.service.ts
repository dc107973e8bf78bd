// For gateways: whose socket is it, and when must it close? Works with socket.io and with ws.
import { Injectable } from '@nestjs/common';
import { defaultIfEmpty, map } from 'rxjs';
import { ResolvedOptions } from '../options/resolve-options.js';
import type { OAuthSession } from '../options/session.js';
import { isRefusedForeign } from './cross-site.js';
import { handshakeOf, rememberHandshake } from './request-context.js';
import { SessionService } from './session.service.js';

/** What the sockets have in common. */
interface Socket {
  /** socket.io */
  disconnect?(close?: boolean): void;
  /** ws */
  close?(code?: number, reason?: string): void;
  terminate?(): void;
  removeAllListeners?(event: string): void;
  once?(event: string, listener: () => void): void;
  /** socket.io */
  disconnected?: boolean;
  /** socket.io: the connection below */
  conn?: { close(): void };
  /** ws */
  readyState?: number;
}

/** State of a socket of ws that is closed and says so no more. */
const CLOSED = 3;
/** Close code of ws for a refused or ended session: policy violation (RFC 6455 §7.4.1). */
const POLICY_VIOLATION = 1008;
/** The one for a socket that nobody watches any more: the application shuts down. */
const GOING_AWAY = 1001;
/** Time for a client of ws to answer the close, milliseconds. */
const GOODBYE = 1_000;

/**
 * Accepts sockets with a live session, and closes them when it ends. `SessionGuard` on the gateway judges each message
 * besides. With ws this is also what makes the handshake known to the guard.
 *
 * A socket is a client of the server before its session is found: broadcast only to those for which `accept` has
 * returned one.
 *
 * @example
 * handleConnection(client: WebSocket, request?: IncomingMessage) {
 *   return this.sockets.accept(client, request);
 * }
 */
@Injectable()
export class SocketSessions {
  constructor(
    private readonly sessions: SessionService,
    private readonly options: ResolvedOptions,
  ) {}

  /**
   * Call it from `handleConnection` with all its arguments.
   * @returns the session; null when the socket has left, or was closed: no session or user, another site, or the database is away
   */
  async accept(client: object, request?: unknown): Promise<OAuthSession | null> {
    // At once: the first message may be here before any answer of the database.
    rememberHandshake(client, request);
    const socket = client as Socket;
    // From now on, for a socket may leave before its session is found: nobody would take it off the watch again.
    const left = new AbortController();
    socket.once?.(socket.disconnect ? 'disconnect' : 'close', () => left.abort());
    // The gateway may have waited for something of its own before.
    if (socket.disconnected === true || socket.readyState === CLOSED) return null;
    const session = await this.#sessionOf(client).catch(() => null);
    if (left.signal.aborted) return null;
    if (!session) {
      close(socket);
      return null;
    }
    const ends = this.sessions.ends(session).pipe(
      map(() => POLICY_VIOLATION),
      defaultIfEmpty(GOING_AWAY),
    );
    const watch = ends.subscribe((code) => close(socket, code));
    // It ended while the user was asked for.
    if (watch.closed) return null;
    left.signal.addEventListener('abort', () => watch.unsubscribe());
    return session;
  }

  async #sessionOf(client: object): Promise<OAuthSession | null> {
    const handshake = handshakeOf(client);
    if (!handshake || isRefusedForeign(handshake, this.options, { handshake: true })) return null;
    const { session } = await this.sessions.ofRequest(handshake);
    if (session && this.options.loadUser) await this.sessions.userOf(session);
    return session;
  }
}

function close(socket: Socket, code = POLICY_VIOLATION): void {
  // Told to disconnect, a client of socket.io would not come back by itself, as it should when only this process ends.
  if (socket.disconnect && socket.conn && code === GOING_AWAY) return socket.conn.close();
  if (socket.disconnect) return socket.disconnect(true);
  socket.close?.(code, code === GOING_AWAY ? 'shutting down' : 'session ended');
  // With ws that is only a question, and a client that does not answer would be heard on.
  socket.removeAllListeners?.('message');
  setTimeout(() => socket.terminate?.(), GOODBYE).unref();
}
