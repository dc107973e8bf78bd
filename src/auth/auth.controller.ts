// The routes. Answers are written to the platform's response directly, so that no interceptor of the application
// wraps a redirect or a page of ours.
import {
  Controller,
  Delete,
  Get,
  HttpCode,
  Param,
  Post,
  Req,
  Res,
  type Type,
  UseFilters,
  VERSION_NEUTRAL,
} from '@nestjs/common';
import { OAuthError } from '../errors/oauth-error.js';
import { AuthUrls } from '../options/auth-urls.service.js';
import { ResolvedOptions } from '../options/resolve-options.js';
import { ProviderRegistry } from '../providers/provider.registry.js';
import { Public } from '../sessions/public.decorator.js';
import { SessionService } from '../sessions/session.service.js';
import { WebRequest } from '../sessions/web-request.js';
import { WebResponse } from '../sessions/web-response.js';
import { asReturnTo, safeReturnTo } from '../state/return-to.js';
import { LoginStarter, singleParameters } from '../strategy/login-start.service.js';
import { StrategyRunner } from '../strategy/strategy-runner.service.js';
import { FormPost } from './form-post.service.js';
import { LoginService } from './login.service.js';
import { LinkService } from './link.service.js';
import { LogoutService } from './logout.service.js';
import { OAuthExceptionFilter } from './oauth-exception.filter.js';
import { page, PAGE_CSP } from './pages.js';
import { StepUpLogin } from './step-up-login.service.js';

/** Login, callback, session and logout, all below `routePrefix`. */
@Public()
@UseFilters(OAuthExceptionFilter)
@Controller({ path: 'auth', version: VERSION_NEUTRAL })
export class AuthController {
  constructor(
    private readonly strategy: StrategyRunner,
    private readonly logins: LoginService,
    private readonly logouts: LogoutService,
    private readonly links: LinkService,
    private readonly stepUps: StepUpLogin,
    private readonly sessions: SessionService,
    private readonly starter: LoginStarter,
    private readonly posts: FormPost,
    private readonly providers: ProviderRegistry,
    private readonly urls: AuthUrls,
    private readonly options: ResolvedOptions,
  ) {}

  /** The provider chooser; with one provider, straight on. */
  @Get('login')
  choose(@Req() req: unknown, @Res() res: unknown): void {
    const [request, response] = navigation(req, res);
    const returnTo = singleParameters(request.queryString).get('returnTo');
    const target =
      returnTo === undefined
        ? {}
        : { returnTo: asReturnTo(safeReturnTo(returnTo, this.starter.returnToPolicy), this.starter.returnToPolicy) };
    const links = this.providers.list().map(({ name, definition }) => ({
      text: `Log in with ${definition.displayName}`,
      href: this.urls.login(name, target),
    }));
    response.secure();
    if (links.length === 1) return response.redirect(302, links[0]!.href);
    response.setHeader('content-security-policy', PAGE_CSP);
    response.send(200, 'text/html; charset=utf-8', page({ title: 'Log in', links }));
  }

  /** Remembers a pending login and sends the browser to the provider. */
  @Get(':provider/login')
  async login(@Req() req: unknown, @Res() res: unknown, @Param('provider') provider: string): Promise<void> {
    const [request, response] = navigation(req, res);
    const demands = await this.stepUps.demandsOf(request, provider);
    const outcome = await this.strategy.run(request, { phase: 'login', provider, ...(demands ? { demands } : {}) });
    if (outcome.kind !== 'redirect') throw new OAuthError('server_error');
    response.secure();
    response.addCookies(outcome.start.cookies);
    response.redirect(302, outcome.start.location);
  }

  /** Finishes a login. */
  @Get(':provider/callback')
  async callback(@Req() req: unknown, @Res() res: unknown, @Param('provider') provider: string): Promise<void> {
    const [request, response] = navigation(req, res);
    // Codes of a form_post provider never enter a URL.
    this.posts.assertMethod(provider, 'GET');
    await this.#finish(request, response, provider);
  }

  /** Who am I? Never a token. */
  @Get('session')
  async session(@Req() req: unknown, @Res() res: unknown): Promise<void> {
    const [request, response] = [new WebRequest(req), new WebResponse(res)];
    const session = await this.sessions.required(request);
    const { user, provider, scope, createdAt, expiresAt, authTime, acr, amr, id } = session;
    response.secure();
    response.json(200, { id, user, provider, scope, createdAt, expiresAt, authTime, acr, amr });
  }

  /** This user's sessions. */
  @Get('sessions')
  async list(@Req() req: unknown, @Res() res: unknown): Promise<void> {
    const [request, response] = [new WebRequest(req), new WebResponse(res)];
    const session = await this.sessions.required(request);
    const sessions = await this.sessions.list(session.user, session);
    response.secure();
    response.json(200, sessions);
  }

  /** Ends one of this user's sessions. */
  @Delete('sessions/:id')
  async end(@Req() req: unknown, @Res() res: unknown, @Param('id') id: string): Promise<void> {
    const [request, response] = [new WebRequest(req), new WebResponse(res)];
    const session = await this.sessions.required(request);
    if (!(await this.sessions.end(session.user, id, 'other-session'))) throw new OAuthError('not_found');
    response.secure();
    response.json(200, { ended: 1 });
  }

  /** Ends all of this user's sessions but the one that asks. */
  @Delete('sessions')
  async endOthers(@Req() req: unknown, @Res() res: unknown): Promise<void> {
    const [request, response] = [new WebRequest(req), new WebResponse(res)];
    const session = await this.sessions.required(request);
    const ended = await this.sessions.endAll(session.user, { except: session, by: 'other-session' });
    response.secure();
    response.json(200, { ended });
  }

  /** Ends this session. */
  @Post('logout')
  async logout(@Req() req: unknown, @Res() res: unknown): Promise<void> {
    const [request, response] = [new WebRequest(req), new WebResponse(res)];
    if (request.isForeign(this.options.origin)) throw new OAuthError('cross_site');
    const { cookies, logoutUrl } = await this.logouts.logout(request);
    response.secure(this.options.session.clearSiteData ? { 'clear-site-data': '"cache", "storage"' } : {});
    response.addCookies(cookies);
    if (request.isForm) response.redirect(303, logoutUrl ?? this.options.postLogoutRedirect);
    else response.json(200, { logoutUrl });
  }

  /** The callback is open for POST only where the provider is declared to answer that way. */
  @Post(':provider/callback')
  @HttpCode(200)
  async postedCallback(@Req() req: unknown, @Res() res: unknown, @Param('provider') provider: string): Promise<void> {
    const [request, response] = [new WebRequest(req), new WebResponse(res)];
    this.posts.assertMethod(provider, 'POST');
    const relay = await this.posts.relay(request, provider);
    if (!relay) return this.#finish(request, response, provider);
    response.secure(relay.headers);
    response.send(200, 'text/html; charset=utf-8', relay.page);
  }

  /** Logins begin with GET. */
  @Post(['login', ':provider/login'])
  postedLogin(): never {
    throw new OAuthError('method_not_allowed', { headers: { allow: 'GET' } });
  }

  /** Links, images and prefetching never log anybody out. */
  @Get('logout')
  linkedLogout(): never {
    throw new OAuthError('method_not_allowed', { headers: { allow: 'POST' } });
  }

  async #finish(request: WebRequest, response: WebResponse, provider: string): Promise<void> {
    const outcome = await this.strategy.run(request, { phase: 'callback', provider });
    if (outcome.kind !== 'success') throw new OAuthError('server_error');
    const { login } = outcome;
    const { returnTo, cookies } =
      'landedAt' in login
        ? { returnTo: login.landedAt, cookies: [] }
        : await (login.attempt.pending.intent === 'link' ? this.links : this.logins).finish(request, login);
    response.secure();
    response.addCookies(cookies);
    response.redirect(303, returnTo);
  }
}

/** The controller below another prefix: a class of its own, so that two modules may live in one application. */
export function authControllerAt(routePrefix: string): Type<AuthController> {
  @Controller({ path: routePrefix, version: VERSION_NEUTRAL })
  class PrefixedAuthController extends AuthController {}
  Object.defineProperty(PrefixedAuthController, 'name', { value: 'AuthController' });
  return PrefixedAuthController;
}

/** Login and callback are for people who navigate: not for HEAD, prefetching, frames, images or scripts. */
function navigation(req: unknown, res: unknown): [WebRequest, WebResponse] {
  const request = new WebRequest(req);
  if (request.method !== 'GET') throw new OAuthError('method_not_allowed', { headers: { allow: 'GET' } });
  if (request.isPrefetch)
    throw new OAuthError('invalid_request', { cause: new Error('prefetching does not begin or finish a login') });
  if (request.isEmbedded)
    throw new OAuthError('cross_site', { cause: new Error('login and callback are for top-level navigations') });
  return [request, new WebResponse(res)];
}
