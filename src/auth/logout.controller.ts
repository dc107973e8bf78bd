// Routes for logout that begins at the provider. They work without cookies, and answer truthfully.
import { Controller, Get, Param, Post, Req, Res, type Type, UseFilters, VERSION_NEUTRAL } from '@nestjs/common';
import { OAuthError } from '../errors/oauth-error.js';
import { Public } from '../sessions/public.decorator.js';
import { WebRequest } from '../sessions/web-request.js';
import { WebResponse } from '../sessions/web-response.js';
import { formBody } from '../strategy/callback-body.js';
import { singleParameters } from '../strategy/login-start.service.js';
import { ProviderLogout } from './logout-provider.service.js';
import { OAuthExceptionFilter } from './oauth-exception.filter.js';

/** Back-channel and front-channel logout. */
@Public()
@UseFilters(OAuthExceptionFilter)
@Controller({ path: 'auth', version: VERSION_NEUTRAL })
export class ProviderLogoutController {
  constructor(private readonly logouts: ProviderLogout) {}

  /** The provider posts a logout token: 200 when its sessions are gone, 400 when it is refused, 503 when nothing could be done. */
  @Post(':provider/backchannel-logout')
  async backchannel(@Req() req: unknown, @Res() res: unknown, @Param('provider') provider: string): Promise<void> {
    const tokens = new URLSearchParams(await formBody(new WebRequest(req))).getAll('logout_token');
    if (tokens.length !== 1 || tokens[0] === '')
      throw new OAuthError('invalid_request', { cause: new Error('logout: not exactly one "logout_token"') });
    await this.logouts.backchannel(provider, tokens[0]!);
    const response = new WebResponse(res);
    response.secure();
    response.send(200, 'text/plain; charset=utf-8', '');
  }

  /** Logout tokens are posted. */
  @Get(':provider/backchannel-logout')
  linkedBackchannel(): never {
    throw new OAuthError('method_not_allowed', { headers: { allow: 'POST' } });
  }

  /** A frame of the provider's logout page. */
  @Get(':provider/frontchannel-logout')
  async frontchannel(@Req() req: unknown, @Res() res: unknown, @Param('provider') provider: string): Promise<void> {
    const [request, response] = [new WebRequest(req), new WebResponse(res)];
    if (request.method !== 'GET') throw new OAuthError('method_not_allowed', { headers: { allow: 'GET' } });
    if (request.isPrefetch)
      throw new OAuthError('invalid_request', { cause: new Error('prefetching does not end anything') });
    const parameters = singleParameters(request.queryString);
    await this.logouts.frontchannel(provider, { iss: parameters.get('iss'), sid: parameters.get('sid') });
    response.secure({
      'content-security-policy': `default-src 'none'; frame-ancestors ${this.logouts.frameAncestor(provider)}`,
    });
    response.send(200, 'text/html; charset=utf-8', '<!doctype html><title>Logged out</title>');
  }
}

/** The controller below another prefix. */
export function providerLogoutControllerAt(routePrefix: string): Type<ProviderLogoutController> {
  @Controller({ path: routePrefix, version: VERSION_NEUTRAL })
  class PrefixedLogoutController extends ProviderLogoutController {}
  Object.defineProperty(PrefixedLogoutController, 'name', { value: 'ProviderLogoutController' });
  return PrefixedLogoutController;
}
