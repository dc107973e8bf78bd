// The policy of a handler, read from its metadata once.
import { PUBLIC_ROUTE } from './public.decorator.js';
import { REQUIRED_ACR, REQUIRED_FRESHNESS, REQUIRED_SCOPES } from './requirements.decorator.js';

/** What it takes to enter a handler. */
export interface Policy {
  /** Open to everybody. */
  readonly open: boolean;
  readonly scopes: readonly string[] | undefined;
  /** Seconds. */
  readonly maxAge: number | undefined;
  readonly acrValues: readonly string[] | undefined;
  /** True when a live session is enough. */
  readonly plain: boolean;
}

type Target = object;

const known = new WeakMap<object, { type: object; policy: Policy }>();

/** The policy of a handler in a controller: the handler's own metadata, else the controller's. */
export function policyOf(handler: Target, type: object): Policy {
  const entry = known.get(handler);
  // The same function serves several controllers where one extends another.
  if (entry?.type === type) return entry.policy;
  const read = <T>(key: symbol): T | undefined =>
    (Reflect.getMetadata(key, handler) ?? Reflect.getMetadata(key, type)) as T | undefined;
  const demands = {
    scopes: read<string[]>(REQUIRED_SCOPES),
    maxAge: read<number>(REQUIRED_FRESHNESS),
    acrValues: read<string[]>(REQUIRED_ACR),
  };
  const plain = Object.values(demands).every((demand) => demand === undefined);
  const policy: Policy = Object.freeze({
    // On a controller, or on what that extends, `@Public()` opens nothing that has demands.
    open: read<boolean>(PUBLIC_ROUTE) === true && (plain || Reflect.hasMetadata(PUBLIC_ROUTE, handler)),
    ...demands,
    plain,
  });
  known.set(handler, { type, policy });
  return policy;
}

/** Whether a handler is itself both `@Public()` and demanding: it is open, and one of the two is a mistake. */
export function contradictsItself(handler: Target): boolean {
  return (
    Reflect.hasMetadata(PUBLIC_ROUTE, handler) &&
    [REQUIRED_SCOPES, REQUIRED_FRESHNESS, REQUIRED_ACR].some((key) => Reflect.hasMetadata(key, handler))
  );
}
