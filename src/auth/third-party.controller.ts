// Logins begun by a third party (OIDC Core §4), such as a provider's portal. Off by default. Nothing is asked of any
// provider and no cookie is set before the person at the browser has agreed: the answer is a page with a link to `/login`.
import { Controller, Get, HttpCode, Post, Req, Res, type Type, UseFilters, VERSION_NEUTRAL } from '@nestjs/common';
import { OAuthError } from '../errors/oauth-error.js';
import { AuthUrls } from '../options/auth-urls.service.js';
import { ResolvedOptions } from '../options/resolve-options.js';
import { ProviderRegistry } from '../providers/provider.registry.js';
import { Public } from '../sessions/public.decorator.js';
import { WebRequest } from '../sessions/web-request.js';
import { WebResponse } from '../sessions/web-response.js';
import { asReturnTo, safeReturnTo } from '../state/return-to.js';
import { formBody } from '../strategy/callback-body.js';
import { LoginStarter, singleParameters } from '../strategy/login-start.service.js';
import { OAuthExceptionFilter } from './oauth-exception.filter.js';
import { page, PAGE_CSP } from './pages.js';

/** Longest `login_hint` that is passed on, characters. */
const MAX_HINT_LENGTH = 512;

/** Receives `iss`, `login_hint` and `target_link_uri`, by GET or by POST. */
@Public()
@UseFilters(OAuthExceptionFilter)
@Controller({ path: 'auth', version: VERSION_NEUTRAL })
export class ThirdPartyController {
  constructor(
    private readonly providers: ProviderRegistry,
    private readonly starter: LoginStarter,
    private readonly urls: AuthUrls,
    private readonly options: ResolvedOptions,
  ) {}

  /** Asks whether to log in at the provider that `iss` names. */
  @Get('initiate')
  initiate(@Req() req: unknown, @Res() res: unknown): Promise<void> {
    return this.#ask(res, () => new WebRequest(req).queryString);
  }

  /** The same by a form. */
  @Post('initiate')
  @HttpCode(200)
  postedInitiate(@Req() req: unknown, @Res() res: unknown): Promise<void> {
    return this.#ask(res, () => formBody(new WebRequest(req)));
  }

  /** @param encoded read only where the route is offered */
  async #ask(res: unknown, encoded: () => string | Promise<string>): Promise<void> {
    if (!this.options.login.thirdPartyStart) throw new OAuthError('not_found');
    const parameters = singleParameters(await encoded(), ['iss', 'login_hint', 'target_link_uri']);
    const issuer = parameters.get('iss');
    const known = this.providers
      .list()
      .map(({ definition }) => definition)
      .filter((definition) => !definition.syntheticIssuer && definition.issuer === issuer);
    if (known.length === 0)
      throw new OAuthError('invalid_request', { cause: new Error('"iss" names none of the configured providers') });
    const policy = this.starter.returnToPolicy;
    // A whole URL, and as such judged by its path where it is ours.
    const target = asReturnTo(parameters.get('target_link_uri') ?? '/', policy);
    const returnTo = asReturnTo(safeReturnTo(target, policy), policy);
    const hint = parameters.get('login_hint');
    const links = known.map(({ name, displayName, loginParams }) => ({
      text: `Log in with ${displayName}`,
      href: this.urls.login(name, {
        returnTo,
        // As with any login, only what the application lets through by name.
        ...(hint !== undefined && hint.length <= MAX_HINT_LENGTH && loginParams.includes('login_hint')
          ? { login_hint: hint }
          : {}),
      }),
    }));
    const response = new WebResponse(res);
    response.secure({ 'content-security-policy': PAGE_CSP });
    const text = 'Another site asks you to log in here. Go on only if you have just come from there.';
    response.send(200, 'text/html; charset=utf-8', page({ title: 'Log in', text, links }));
  }
}

/** The controller below another prefix. */
export function thirdPartyControllerAt(routePrefix: string): Type<ThirdPartyController> {
  @Controller({ path: routePrefix, version: VERSION_NEUTRAL })
  class PrefixedThirdPartyController extends ThirdPartyController {}
  Object.defineProperty(PrefixedThirdPartyController, 'name', { value: 'ThirdPartyController' });
  return PrefixedThirdPartyController;
}
