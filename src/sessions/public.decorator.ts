// Handler metadata that the guard reads. Only metadata opens a route: no path, query or header ever does.
import { type CustomDecorator, SetMetadata } from '@nestjs/common';

/** Metadata key of {@link Public}. */
export const PUBLIC_ROUTE = Symbol('nest-oauth-client:public');

/**
 * Opens a handler or controller to everybody, where `SessionGuard` is bound globally or to the controller. On a controller
 * it opens the handlers without demands, whether these are their own or the controller's.
 */
export function Public(): CustomDecorator<symbol> {
  return SetMetadata(PUBLIC_ROUTE, true);
}
