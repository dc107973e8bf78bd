// Routes for the identities of the logged-in user: list, connect, disconnect.
import { Controller, Delete, Get, Param, Post, Req, Res, type Type, UseFilters, VERSION_NEUTRAL } from '@nestjs/common';
import { AccountService } from '../accounts/account.service.js';
import { OAuthError } from '../errors/oauth-error.js';
import { ResolvedOptions } from '../options/resolve-options.js';
import { serializeCookie } from '../sessions/cookies.js';
import { Public } from '../sessions/public.decorator.js';
import { SessionService } from '../sessions/session.service.js';
import { WebRequest } from '../sessions/web-request.js';
import { WebResponse } from '../sessions/web-response.js';
import { LinkService } from './link.service.js';
import { OAuthExceptionFilter } from './oauth-exception.filter.js';

/** Connecting and disconnecting identities. */
@Public()
@UseFilters(OAuthExceptionFilter)
@Controller({ path: 'auth', version: VERSION_NEUTRAL })
export class AccountController {
  constructor(
    private readonly links: LinkService,
    private readonly accounts: AccountService,
    private readonly sessions: SessionService,
    private readonly options: ResolvedOptions,
  ) {}

  /** Begins to connect another identity: 303 to the provider for a form, JSON with its address for `fetch`. */
  @Post(':provider/link')
  async link(@Req() req: unknown, @Res() res: unknown, @Param('provider') provider: string): Promise<void> {
    const [request, response] = [new WebRequest(req), new WebResponse(res)];
    const session = await this.sessions.required(request);
    const { location, cookies } = await this.links.begin(request, provider, session);
    response.secure();
    response.addCookies(cookies);
    if (request.isForm) response.redirect(303, location);
    else response.json(200, { linkUrl: location });
  }

  /** Nothing is connected by following a link. */
  @Get(':provider/link')
  linked(): never {
    throw new OAuthError('method_not_allowed', { headers: { allow: 'POST' } });
  }

  /** The user's identities. */
  @Get('accounts')
  async list(@Req() req: unknown, @Res() res: unknown): Promise<void> {
    const session = await this.sessions.required(new WebRequest(req));
    const response = new WebResponse(res);
    const accounts = await this.accounts.list(session.user);
    response.secure();
    response.json(
      200,
      accounts.map(({ id, provider, subject, createdAt, lastLoginAt }) => ({
        id,
        provider,
        subject,
        createdAt,
        lastLoginAt,
      })),
    );
  }

  /** Disconnects one of the user's identities. */
  @Delete('accounts/:id')
  async unlink(@Req() req: unknown, @Res() res: unknown, @Param('id') id: string): Promise<void> {
    const [request, response] = [new WebRequest(req), new WebResponse(res)];
    const session = await this.sessions.required(request);
    if (!(await this.accounts.unlink(session.user, id))) throw new OAuthError('not_found');
    const { session: left } = await this.sessions.ofRequest(request);
    response.secure();
    if (!left) response.addCookies([serializeCookie('session', '', { secure: this.options.secure, maxAge: 0 })]);
    response.json(200, { unlinked: id });
  }
}

/** The controller below another prefix. */
export function accountControllerAt(routePrefix: string): Type<AccountController> {
  @Controller({ path: routePrefix, version: VERSION_NEUTRAL })
  class PrefixedAccountController extends AccountController {}
  Object.defineProperty(PrefixedAccountController, 'name', { value: 'AccountController' });
  return PrefixedAccountController;
}
