import { EventEmitter, once } from 'node:events';
import { get, type IncomingMessage } from 'node:http';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { Controller, type MessageEvent, Sse, UseFilters, UseGuards } from '@nestjs/common';
import { WsAdapter } from '@nestjs/platform-ws';
import { SubscribeMessage, WebSocketGateway } from '@nestjs/websockets';
import { endWith, interval, map, type Observable, takeUntil } from 'rxjs';
import { io } from 'socket.io-client';
import WebSocket from 'ws';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { type AppOptions, MeController, oidcOf, platforms, type RunningApp, startApp } from '../support/app.js';
import { UserAgent } from '../support/user-agent.js';
import {
  CurrentSession,
  CurrentUser,
  OAuthExceptionFilter,
  type OAuthSession,
  type OAuthUser,
  Public,
  SessionGuard,
  SessionService,
  SocketSessions,
} from '../../src/index.js';
import { FakeProvider } from '../../src/testing/index.js';

@WebSocketGateway()
@UseGuards(SessionGuard)
@UseFilters(OAuthExceptionFilter)
class ChatGateway {
  static entered = 0;
  /** The latest socket's admission: a client's handshake is over before it. */
  static accepting: Promise<unknown> | undefined;
  /** How many messages reached the handler that is open to everybody. */
  static heard = 0;
  constructor(private readonly sockets: SocketSessions) {}

  handleConnection(client: object, request?: unknown): Promise<unknown> {
    return (ChatGateway.accepting = this.sockets.accept(client, request));
  }
  @SubscribeMessage('whoami') whoami(@CurrentUser('subject') subject: string): object {
    ChatGateway.entered++;
    return { event: 'you', data: subject };
  }
  @Public() @SubscribeMessage('open') open(@CurrentUser() user?: OAuthUser): object {
    ChatGateway.heard++;
    return { event: 'known', data: user?.subject ?? null };
  }
}

/** A gateway that forgot to look at the handshake: the guard alone protects it. */
@WebSocketGateway({ path: '/bare' })
@UseGuards(SessionGuard)
@UseFilters(OAuthExceptionFilter)
class BareGateway {
  @SubscribeMessage('whoami') whoami(): object {
    ChatGateway.entered++;
    return { event: 'you', data: 'anybody' };
  }
}

@Controller('stream')
@UseGuards(SessionGuard)
class StreamController {
  constructor(private readonly sessions: SessionService) {}
  @Sse() stream(@CurrentSession() session: OAuthSession): Observable<MessageEvent> {
    return interval(20).pipe(
      map((data) => ({ data: String(data) })),
      takeUntil(this.sessions.ends(session).pipe(endWith(undefined))),
    );
  }
}

const ADMIN = 'https://admin.example.com';

describe.each(platforms)('sockets and streams on %s', (platform) => {
  let database: TestDatabase;
  let provider: FakeProvider;
  let withIo: RunningApp;
  let withWs: RunningApp;
  /** Who is no longer a user. */
  const gone = new Set<string>();
  /** What happens while the next user is asked for. */
  let asking: (() => Promise<unknown>) | undefined;

  beforeAll(async () => {
    [database, provider] = await Promise.all([createTestDatabase(), FakeProvider.start()]);
    const base = {
      platform,
      database: database.url,
      providers: [oidcOf(provider)],
      nestProviders: [ChatGateway],
      controllers: [MeController, StreamController],
      oauth: {
        session: { stalenessBound: 0.3 },
        csrf: { exemptOrigins: [ADMIN], exemptPaths: ['/socket.io/'] },
        loadUser: async (user: OAuthUser) => {
          const ask = asking;
          asking = undefined;
          await ask?.();
          return gone.has(user.id) ? null : user;
        },
      },
    };
    withIo = await startApp(base);
    withWs = await startApp({
      ...base,
      nestProviders: [ChatGateway, BareGateway],
      configure: (app) => void app.useWebSocketAdapter(new WsAdapter(app)),
    });
  });
  afterAll(async () => {
    await withIo?.close();
    await withWs?.close();
    await provider?.close();
    await database?.drop();
  });

  async function login(): Promise<{ cookie: string; agent: UserAgent; id: string; userId: string }> {
    const agent = new UserAgent();
    await agent.navigate(`${withIo.url}/auth/fake/login?returnTo=/me`);
    const { user, session } = (await agent.fetch(`${withIo.url}/me`)).json<{
      user: { id: string };
      session: { id: string };
    }>();
    return { agent, cookie: `oauth_session=${agent.cookie('oauth_session')}`, id: session.id, userId: user.id };
  }
  const ioClient = (headers: Record<string, string>) =>
    io(withIo.url, { extraHeaders: headers, transports: ['websocket'], reconnection: false, forceNew: true });
  const wsClient = (headers: Record<string, string>, path = '') =>
    new WebSocket(withWs.url.replace('http', 'ws') + path, { headers });
  const answerOf = async (socket: WebSocket) =>
    JSON.parse(String(((await once(socket, 'message')) as [Buffer])[0])) as { event: string; data: unknown };

  it('E-072 socket.io: passes with a live session, and the socket closes when the session ends', async () => {
    const { cookie, agent } = await login();
    const socket = ioClient({ cookie });
    await new Promise<void>((resolve) => socket.on('connect', resolve));
    const you = new Promise((resolve) => socket.on('you', resolve));
    socket.emit('whoami');
    expect(await you).toBe('user-1');
    const gone = new Promise((resolve) => socket.on('disconnect', resolve));
    await agent.fetch(`${withIo.url}/auth/logout`, { method: 'POST' });
    expect(await gone).toBe('io server disconnect');
  });

  it('E-072 socket.io: closes without a session, with a dead one, and from another site', async () => {
    const { cookie } = await login();
    const entered = ChatGateway.entered;
    for (const headers of [
      {},
      { cookie: 'oauth_session=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA' },
      { cookie, origin: 'https://evil.example' },
      { cookie, 'sec-fetch-site': 'cross-site' },
    ] as Record<string, string>[]) {
      const socket = ioClient(headers);
      const gone = new Promise((resolve) => socket.on('disconnect', resolve));
      socket.on('connect', () => socket.emit('whoami'));
      await gone;
      socket.close();
    }
    expect(ChatGateway.entered).toBe(entered);
  });

  it('E-072 ws: passes with a live session, and closes when it ends in another process or by hand', async () => {
    const { cookie, id } = await login();
    const socket = wsClient({ cookie });
    await once(socket, 'open');
    socket.send(JSON.stringify({ event: 'whoami' }));
    expect(await answerOf(socket)).toEqual({ event: 'you', data: 'user-1' });
    const closed = once(socket, 'close') as Promise<[number]>;
    const began = performance.now();
    await database.query('delete from oauth_sessions where id = $1', [id]);
    const [code] = await closed;
    expect(code).toBe(1008);
    expect(performance.now() - began).toBeLessThan(2000);
  });

  it('E-072 ws: closes without a session and from another site, and the first message never reaches the handler', async () => {
    const { cookie } = await login();
    const entered = ChatGateway.entered;
    for (const headers of [{}, { cookie, origin: 'https://evil.example' }] as Record<string, string>[]) {
      const socket = wsClient(headers);
      const closed = once(socket, 'close') as Promise<[number]>;
      socket.on('open', () => socket.send(JSON.stringify({ event: 'whoami' })));
      expect((await closed)[0]).toBe(1008);
    }
    expect(ChatGateway.entered).toBe(entered);
  });

  it('E-072 an exempt origin may open sockets; an exempt path opens none', async () => {
    const { cookie } = await login();
    const socket = wsClient({ cookie, origin: ADMIN });
    await once(socket, 'open');
    socket.send(JSON.stringify({ event: 'whoami' }));
    expect(await answerOf(socket)).toEqual({ event: 'you', data: 'user-1' });
    socket.close();
    const viaIo = ioClient({ cookie, origin: ADMIN });
    await new Promise<void>((resolve) => viaIo.on('connect', resolve));
    const you = new Promise((resolve) => viaIo.on('you', resolve));
    viaIo.emit('whoami');
    expect(await you).toBe('user-1');
    viaIo.close();
    // The path of socket.io itself is on the list of exempt paths here.
    const foreign = ioClient({ cookie, origin: 'https://evil.example' });
    expect(await new Promise((resolve) => foreign.on('disconnect', resolve))).toBe('io server disconnect');
    foreign.close();
  });

  it('C-009 E-072 ws: who is no longer a user is refused, at the handshake and at the next message', async () => {
    const { cookie, userId } = await login();
    const socket = wsClient({ cookie });
    await once(socket, 'open');
    expect(await ChatGateway.accepting).toMatchObject({ user: { id: userId } });
    const entered = ChatGateway.entered;
    gone.add(userId);
    try {
      socket.send(JSON.stringify({ event: 'whoami' }));
      expect(await answerOf(socket)).toMatchObject({ event: 'exception', data: { code: 'user_gone' } });
      const closed = once(wsClient({ cookie }), 'close') as Promise<[number]>;
      expect((await closed)[0]).toBe(1008);
      expect(ChatGateway.entered).toBe(entered);
    } finally {
      gone.clear();
      socket.close();
    }
  });

  /** Makes a client go on talking when it is told to close. @returns when it was told */
  const ignoreClose = (socket: WebSocket) => new Promise<void>((resolve) => (socket.close = () => resolve()));
  /** Talks on, and expects that nobody listens and that the line is cut. */
  async function expectCutOff(socket: WebSocket): Promise<void> {
    const heard = ChatGateway.heard;
    socket.send(JSON.stringify({ event: 'open' }));
    const closed = once(socket, 'close').then(() => 'closed');
    expect(await Promise.race([closed, sleep(3000, 'open', { ref: false })])).toBe('closed');
    expect(ChatGateway.heard).toBe(heard);
  }

  it('E-072 ws: who is refused and does not answer the close is not heard any more, and is cut off', async () => {
    const { cookie } = await login();
    for (const headers of [{}, { cookie, origin: 'https://evil.example' }] as Record<string, string>[]) {
      const socket = wsClient(headers);
      await ignoreClose(socket);
      await expectCutOff(socket);
    }
  });

  it('E-072 ws: whose session ended and who does not answer the close is not heard any more, and is cut off', async () => {
    const { cookie, id, userId } = await login();
    const socket = wsClient({ cookie });
    await once(socket, 'open');
    expect(await ChatGateway.accepting).toMatchObject({ id });
    socket.send(JSON.stringify({ event: 'open' }));
    expect(await answerOf(socket)).toMatchObject({ event: 'known' });
    const told = ignoreClose(socket);
    expect(await withWs.app.get(SessionService).end(userId, id)).toBe(true);
    await told;
    await expectCutOff(socket);
  });

  it('refuses sockets that can do no more than close, or nothing', async () => {
    let closed = 0;
    const sockets = withIo.app.get(SocketSessions);
    expect(await sockets.accept({ close: () => (closed += 1) }, { headers: {} })).toBeNull();
    expect(await sockets.accept({}, { headers: {} })).toBeNull();
    expect(closed).toBe(1);
  });

  it('a handler that is open to everybody knows nobody, also on a socket that was known before', async () => {
    const { cookie } = await login();
    const socket = wsClient({ cookie });
    await once(socket, 'open');
    socket.send(JSON.stringify({ event: 'whoami' }));
    expect(await answerOf(socket)).toEqual({ event: 'you', data: 'user-1' });
    socket.send(JSON.stringify({ event: 'open' }));
    expect(await answerOf(socket)).toEqual({ event: 'known', data: null });
    socket.close();
  });

  it('forgets a socket that left before its session was found', async () => {
    const { cookie, id, userId } = await login();
    let closed = 0;
    const socket = Object.assign(new EventEmitter(), { close: () => (closed += 1) });
    const accepting = withIo.app.get(SocketSessions).accept(socket, { headers: { cookie } });
    socket.emit('close');
    expect(await accepting).toBeNull();
    // Nobody watches for it any more.
    expect(await withIo.app.get(SessionService).end(userId, id)).toBe(true);
    expect(closed).toBe(0);
  });

  it('E-072 closes a socket whose session ends while its user is asked for', async () => {
    const { cookie, id, userId } = await login();
    let code: number | undefined;
    const socket = Object.assign(new EventEmitter(), { close: (given: number) => (code = given) });
    asking = () => withIo.app.get(SessionService).end(userId, id);
    expect(await withIo.app.get(SocketSessions).accept(socket, { headers: { cookie } })).toBeNull();
    expect(code).toBe(1008);
  });

  it.each([
    ['ws', { readyState: WebSocket.CLOSED, close: (): void => undefined }],
    ['socket.io', { disconnected: true, disconnect: (): void => undefined }],
  ])('%s: knows no socket that had left before its gateway asked', async (_, socket) => {
    const { cookie } = await login();
    const sockets = withIo.app.get(SocketSessions);
    expect(await sockets.accept(Object.assign(new EventEmitter(), socket), { headers: { cookie } })).toBeNull();
  });

  it('E-072 ws: a gateway that never showed the guard a handshake is denied', async () => {
    const { cookie } = await login();
    const entered = ChatGateway.entered;
    const socket = wsClient({ cookie }, '/bare');
    await once(socket, 'open');
    socket.send(JSON.stringify({ event: 'whoami' }));
    expect(await answerOf(socket)).toMatchObject({ event: 'exception', data: { code: 'unauthenticated' } });
    expect(ChatGateway.entered).toBe(entered);
    socket.close();
  });

  it('ends server-sent events with the session, also one that only expires', async () => {
    const { cookie, id } = await login();
    const answer = await fetch(`${withIo.url}/stream`, { headers: { cookie } });
    expect(answer.status).toBe(200);
    const body = answer.text();
    await sleep(500);
    await database.query(`update oauth_sessions set expires_at = now() where id = $1`, [id]);
    expect(await Promise.race([body, sleep(3000, undefined, { ref: false })])).toContain('data: 1');
    expect((await fetch(`${withIo.url}/stream`, { headers: { cookie } })).status).toBe(401);
  });

  /** One more application with the gateway, over the same database. */
  const startAnother = (more: Partial<AppOptions> = {}): Promise<RunningApp> =>
    startApp({
      platform,
      database: database.url,
      providers: [oidcOf(provider)],
      nestProviders: [ChatGateway],
      ...more,
    });

  it('ends streams and sockets when the application shuts down, which would wait for the streams', async () => {
    const { cookie } = await login();
    const leaving = await startAnother({
      controllers: [StreamController],
      configure: (app) => void app.useWebSocketAdapter(new WsAdapter(app)),
    });
    const socket = new WebSocket(leaving.url.replace('http', 'ws'), { headers: { cookie } });
    const closed = once(socket, 'close') as Promise<[number]>;
    await once(socket, 'open');
    socket.send(JSON.stringify({ event: 'whoami' }));
    await answerOf(socket);
    const request = get(`${leaving.url}/stream`, { headers: { cookie }, agent: false });
    const [stream] = (await once(request, 'response')) as [IncomingMessage];
    const body = text(stream).catch(() => 'cut off');
    await sleep(500);
    const down = leaving.close().then(() => 'down');
    expect(await Promise.race([down, sleep(10_000, 'still up', { ref: false })])).toBe('down');
    expect(await body).toContain('data: 1');
    expect((await closed)[0]).toBe(1001);
  });

  it('lets clients of socket.io come back to another process when this one shuts down', async () => {
    const { cookie } = await login();
    const leaving = await startAnother();
    const socket = io(leaving.url, { transports: ['websocket'], extraHeaders: { cookie }, reconnectionDelay: 60_000 });
    try {
      await new Promise((resolve) => socket.once('connect', () => resolve(undefined)));
      expect(await ChatGateway.accepting).not.toBeNull();
      const reason = new Promise((resolve) => socket.once('disconnect', resolve));
      await leaving.close();
      // With "io server disconnect" it would stay away.
      expect(await reason).toBe('transport close');
      expect(socket.active).toBe(true);
    } finally {
      socket.close();
    }
  });

  it('tells the ids of sessions that end', async () => {
    const { id, userId } = await login();
    const service = withIo.app.get(SessionService);
    const ended: string[] = [];
    const subscription = service.ended$.subscribe((ends) => ended.push(ends));
    expect(await service.end(userId, id)).toBe(true);
    expect(ended).toEqual([id]);
    subscription.unsubscribe();
  });
});
