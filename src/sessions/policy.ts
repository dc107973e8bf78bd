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
  const policy: Policy = Object.freeze({
    open: read<boolean>(PUBLIC_ROUTE) === true && !demandsItself(handler),
    ...demands,
    plain: Object.values(demands).every((demand) => demand === undefined),
  });
  known.set(handler, { type, policy });
  return policy;
}

/** A handler with demands of its own is not opened by `@Public()` on its controller. */
function demandsItself(handler: Target): boolean {
  return (
    !Reflect.hasMetadata(PUBLIC_ROUTE, handler) &&
    [REQUIRED_SCOPES, REQUIRED_FRESHNESS, REQUIRED_ACR].some((key) => Reflect.hasMetadata(key, handler))
  );
}
