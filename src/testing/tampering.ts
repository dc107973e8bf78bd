// Honest answers bent by the test: a function per kind of answer, called just before it is signed or sent.
import type { JsonObject } from './behaviour.js';
import type { LoggedRequest } from './request-log.js';

/** What a tampering function is told besides the thing it may change. */
export interface TamperContext {
  /** The request being answered; undefined for tokens made on demand. */
  request?: LoggedRequest | undefined;
  clientId?: string | undefined;
  sub?: string | undefined;
  grantType?: string | undefined;
}

/**
 * What can be tampered with, and what the function gets. It changes its argument in place, or returns a replacement; for
 * JSON answers (`metadata`, `jwks`, `tokenResponse`, `parResponse`, `userinfo`, `api`) that may be any JSON value.
 */
export interface Tampers {
  metadata: (body: JsonObject, context: TamperContext) => unknown;
  jwks: (body: { keys: JsonObject[] }, context: TamperContext) => unknown;
  /** Claims and JOSE header of ID tokens; a changed `alg` is signed with that algorithm's own key. */
  idToken: (claims: JsonObject, header: JsonObject, context: TamperContext) => unknown;
  /** Good answers of the token endpoint; for bad ones there are faults. */
  tokenResponse: (body: JsonObject, context: TamperContext) => unknown;
  parResponse: (body: JsonObject, context: TamperContext) => unknown;
  /** Claims of userinfo; `header` only counts while userinfo is signed. */
  userinfo: (claims: JsonObject, header: JsonObject, context: TamperContext) => unknown;
  /** Parameters of success and error answers alike, also when they then go into a JWT (JARM). */
  authorizationResponse: (params: URLSearchParams, context: TamperContext) => unknown;
  /** Claims and header of the JWT of a JARM answer. */
  jarm: (claims: JsonObject, header: JsonObject, context: TamperContext) => unknown;
  /** Parameters with which the browser comes back from the logout page. */
  endSessionResponse: (params: URLSearchParams, context: TamperContext) => unknown;
  logoutToken: (claims: JsonObject, header: JsonObject, context: TamperContext) => unknown;
  /** JSON of the resource server. */
  api: (body: JsonObject, context: TamperContext) => unknown;
}

/** Name of something that can be tampered with. */
export type TamperTarget = keyof Tampers;

interface Active {
  target: TamperTarget;
  change: (...given: never[]) => unknown;
  left: number;
}

/** The tampering functions in force, applied in the order they were given. */
export class TamperRegistry {
  private active: Active[] = [];

  /** Puts a function in force, `times` times or until it is taken back with the function returned. */
  add<T extends TamperTarget>(target: T, change: Tampers[T], times = Infinity): () => void {
    const entry: Active = { target, change, left: times };
    this.active.push(entry);
    return () => {
      this.active = this.active.filter((other) => other !== entry);
    };
  }

  /** Takes all back, or those of one target. */
  clear(target?: TamperTarget): void {
    this.active = target === undefined ? [] : this.active.filter((entry) => entry.target !== target);
  }

  /** The value after all functions of its target have had it. */
  apply<V>(target: TamperTarget, value: V, ...more: unknown[]): V {
    let current: unknown = value;
    for (const entry of this.active) {
      if (entry.target !== target || entry.left <= 0) continue;
      entry.left -= 1;
      const replaced = entry.change(...([current, ...more] as never[]));
      if (replaced !== undefined) current = replaced;
    }
    return current as V;
  }
}
