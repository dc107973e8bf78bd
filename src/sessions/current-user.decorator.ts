// Parameter decorators for what the guard attached.
import { createParamDecorator, type ExecutionContext } from '@nestjs/common';
import type { OAuthUser } from '../options/login.js';
import type { OAuthSession } from '../options/session.js';
import { type AuthenticatedRequest, requestOf } from './request-context.js';

/**
 * The logged-in user, or one member of it: `@CurrentUser() user: OAuthUser`, `@CurrentUser('id') id: string`.
 * Undefined on `@Public()` routes.
 */
export const CurrentUser = createParamDecorator((member: keyof OAuthUser | undefined, context: ExecutionContext) => {
  const user = attached(context).user;
  return member === undefined ? user : user?.[member];
});

/** The live session, or one member of it: `@CurrentSession() session: OAuthSession`. Undefined on `@Public()` routes. */
export const CurrentSession = createParamDecorator(
  (member: keyof OAuthSession | undefined, context: ExecutionContext) => {
    const session = attached(context).oauthSession;
    return member === undefined ? session : session?.[member];
  },
);

function attached(context: ExecutionContext): AuthenticatedRequest {
  return (requestOf(context)?.native ?? {}) as AuthenticatedRequest;
}
