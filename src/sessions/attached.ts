// What the guard attaches to a request: `request.user` and `request.oauthSession`. On Express each property set on a
// request costs microseconds (its prototype was replaced, so V8 before 13 copies the whole shape each time): there both
// are read by accessors on the application's request prototype, and setting one makes an own property as ever.
import { Readable } from 'node:stream';
import type { OAuthAppUser } from '../options/login.js';
import type { OAuthSession } from '../options/session.js';

/** What the guard attaches to the platform's request. */
export interface AuthenticatedRequest {
  user?: OAuthAppUser;
  oauthSession?: OAuthSession;
}

interface Attached {
  readonly user: OAuthAppUser;
  readonly session: OAuthSession;
}

const ATTACHED = Symbol('nest-oauth-client');

/** Every request of Node has this object to itself, and reaches it through a proxy too; a WeakMap costs five times as much. */
interface Carrier extends AuthenticatedRequest {
  _readableState?: { [ATTACHED]?: Attached };
}

/** By prototype of a request: whether both accessors are there, and ours. */
const prepared = new WeakMap<object, boolean>();

/** Gives a request its user and session; what was there under these names before is gone. */
export function attach(request: object, session: OAuthSession, user: OAuthAppUser): void {
  const native = request as Carrier;
  const prototype = Object.getPrototypeOf(native) as object | null;
  const state = prototype !== null && (prepared.get(prototype) ?? prepare(prototype)) && native._readableState;
  if (state) {
    state[ATTACHED] = { user, session };
    // An own property comes before the accessor, whoever made it: it must not hide what the guard says.
    if (native.user === user && native.oauthSession === session) return;
  }
  native.user = user;
  native.oauthSession = session;
}

/** Defines the accessors, unless this is no request prototype of an Express application or has such members already. */
function prepare(prototype: object): boolean {
  const owner = ownerOf(prototype);
  const done = owner !== null && define(owner, 'user') && define(owner, 'oauthSession');
  prepared.set(prototype, done);
  return done;
}

/** Where to define them: the request prototype of the outermost application, from which those mounted in it inherit. */
function ownerOf(prototype: object): object | null {
  let owner: object | null = null;
  for (let each: object | null = prototype; isOfExpress(each); each = Object.getPrototypeOf(each) as object | null)
    owner = each;
  return owner;
}

/** Express makes each application a request prototype of its own, which names the application. */
function isOfExpress(prototype: object | null): prototype is object {
  if (!(prototype instanceof Readable) || !Object.hasOwn(prototype, 'app')) return false;
  const { app } = prototype as { app?: { request?: unknown } };
  return app?.request === prototype;
}

const accessors = { user: accessorOf('user', 'user'), oauthSession: accessorOf('oauthSession', 'session') };

function define(prototype: object, name: keyof typeof accessors): boolean {
  if (!(name in prototype)) return Reflect.defineProperty(prototype, name, accessors[name]);
  return Object.getOwnPropertyDescriptor(prototype, name)?.get === accessors[name].get;
}

function accessorOf(name: string, member: keyof Attached): PropertyDescriptor & ThisType<Carrier> {
  return {
    configurable: true,
    enumerable: true,
    get() {
      return this._readableState?.[ATTACHED]?.[member];
    },
    set(value: unknown) {
      Object.defineProperty(this, name, { value, configurable: true, enumerable: true, writable: true });
    },
  };
}
