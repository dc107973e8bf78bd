// For pages that greet members and strangers alike. Any other failure still denies.
import { type ExecutionContext, Injectable } from '@nestjs/common';
import { OAuthError, SessionGuard } from 'nest-oauth-client';

/** Attaches the session where there is one, and lets people without one pass. */
@Injectable()
export class VisitorGuard extends SessionGuard {
  override async canActivate(context: ExecutionContext): Promise<boolean> {
    try {
      return await super.canActivate(context);
    } catch (error) {
      if (error instanceof OAuthError && error.code === 'unauthenticated') return true;
      throw error;
    }
  }
}
