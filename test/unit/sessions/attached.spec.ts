import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { ExpressAdapter } from '@nestjs/platform-express';
import passport from 'passport';
import type { OAuthUser } from '../../../src/options/login.js';
import type { OAuthSession } from '../../../src/options/session.js';
import { attach } from '../../../src/sessions/attached.js';

type Request = IncomingMessage & Record<string, unknown>;
type Handler = (request: Request, response: ServerResponse, next: () => void) => void;
interface Application {
  (request: IncomingMessage, response: ServerResponse): void;
  request: object;
  use(handler: Handler | Application): void;
}

const user = { id: 'ada' } as OAuthUser;
const session = { id: 'session', user } as OAuthSession;
const guard: Handler = (request, _, next) => {
  attach(request, session, user);
  next();
};

const application = (...handlers: (Handler | Application)[]): Application => {
  const app = new ExpressAdapter().getInstance<Application>();
  for (const handler of handlers) app.use(handler);
  return app;
};

/** What there is to see of a request when its answer is finished. */
async function seenBy<T>(app: Application, look: (request: Request) => T): Promise<T> {
  let seen: { value: T } | undefined;
  const server = createServer(
    (request, response) =>
      void (response.once('finish', () => (seen = { value: look(request as Request) })), app(request, response)),
  );
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  await fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`).then((answer) => answer.text());
  server.close();
  if (!seen) throw new Error('no answer was finished');
  return seen.value;
}

const answer: Handler = (_, response) => void response.end('answered');
const both = (request: Request): unknown[] => [request.user, request.oauthSession];

describe('what the guard attaches to a request of Express', () => {
  it('is there, the very objects, without the cost of own properties', async () => {
    const [same, own] = await seenBy(application(guard, answer), (request) => [
      request.user === user && request.oauthSession === session,
      Object.keys(request).filter((name) => name === 'user' || name === 'oauthSession'),
    ]);
    expect([same, own]).toEqual([true, []]);
  });

  it('is of that request alone', async () => {
    const app = application(answer);
    attach(Object.setPrototypeOf({ _readableState: {} }, app.request) as object, session, user);
    expect('user' in app.request).toBe(true);
    expect(await seenBy(app, both)).toEqual([undefined, undefined]);
    expect(both(app.request as Request)).toEqual([undefined, undefined]);
  });

  it('replaces what middleware had set under these names', async () => {
    const claim: Handler = (request, _, next) => {
      Object.assign(request, { user: { id: 'mallory' }, oauthSession: { id: 'forged' } });
      next();
    };
    // Before the accessors are there, and after.
    const app = application(claim, guard, answer);
    expect(await seenBy(app, both)).toEqual([user, session]);
    expect(await seenBy(app, both)).toEqual([user, session]);
  });

  it('gives way to what the application assigns later, until a guard asks again', async () => {
    const assign: Handler = (request, _, next) => {
      request.user = { id: 'grace' };
      next();
    };
    const app = application(guard, assign, answer);
    expect(
      await seenBy(app, (request) => [request.user, Object.hasOwn(request, 'user'), request.oauthSession === session]),
    ).toEqual([{ id: 'grace' }, true, true]);
    expect(await seenBy(application(guard, assign, guard, answer), both)).toEqual([user, session]);
    const deny: Handler = (request, _, next) => {
      request.user = null;
      next();
    };
    expect(await seenBy(application(guard, deny, answer), (request) => request.user)).toBeNull();
  });

  it('is seen through a proxy and by objects made from the request', async () => {
    const seen = await seenBy(application(guard, answer), (request) => [
      both(new Proxy(request, {})),
      both(Object.create(request) as Request),
    ]);
    expect(seen).toEqual([
      [user, session],
      [user, session],
    ]);
  });

  it('leaves other applications of the process alone', async () => {
    const [one, other] = [application(guard, answer), application(answer)];
    await seenBy(one, both);
    expect(['user' in one.request, 'user' in other.request]).toEqual([true, false]);
    expect(await seenBy(other, both)).toEqual([undefined, undefined]);
    expect('user' in IncomingMessageOf(one.request)).toBe(false);
  });

  it('stays with a request that an application mounted in another hands back', async () => {
    const [child, sibling] = [application(guard), application()];
    expect(await seenBy(application(child, sibling, answer), both)).toEqual([user, session]);
  });

  it('is set as ever where the application has members of these names itself', async () => {
    const withDefault = application(guard, answer);
    Object.assign(withDefault.request, { user: null });
    expect(await seenBy(withDefault, both)).toEqual([user, session]);
    expect((withDefault.request as Request).user).toBeNull();

    const assigned: unknown[] = [];
    const withSetter = application(guard, answer);
    Object.defineProperty(withSetter.request, 'oauthSession', { set: (value) => void assigned.push(value) });
    expect(await seenBy(withSetter, (request) => request.user)).toBe(user);
    expect(assigned).toEqual([session]);

    const late = application(guard, answer);
    await seenBy(late, both);
    Object.defineProperty(late.request, 'user', { value: { id: 'default' }, writable: true });
    expect(await seenBy(late, both)).toEqual([user, session]);
  });

  it('is what Passport beside it goes by, and a login of Passport replaces it', async () => {
    type Passports = { logIn(user: object, options: object, done: () => void): void; isAuthenticated(): boolean };
    const initialize = (new passport.Passport() as unknown as { initialize(options: object): Handler }).initialize({
      compat: true,
    });
    const login: Handler = (request, _, next) =>
      (request as unknown as Passports).logIn({ id: 'passport' }, { session: false }, next);
    const look = (request: Request): unknown[] => [
      (request as unknown as Passports).isAuthenticated(),
      request.user,
      request.oauthSession === session,
    ];
    const app = application(initialize, guard, answer);
    expect(await seenBy(app, look)).toEqual([true, user, true]);
    expect(await seenBy(application(initialize, answer), look)).toEqual([false, undefined, false]);
    expect(await seenBy(application(initialize, guard, login, answer), look)).toEqual([true, { id: 'passport' }, true]);
    expect(await seenBy(application(initialize, login, guard, answer), look)).toEqual([true, user, true]);
  });
});

describe('what the guard attaches to anything else', () => {
  it('is set as properties', () => {
    const made = [{ headers: {} }, Object.create(null) as object, new (class Request {})()];
    for (const request of made) {
      attach(request, session, user);
      expect({ ...request }).toMatchObject({ user, oauthSession: session });
    }
  });
});

const IncomingMessageOf = (prototype: object): object => {
  const parent = Object.getPrototypeOf(prototype) as object;
  return Object.hasOwn(parent, 'headers') ? parent : IncomingMessageOf(parent);
};
