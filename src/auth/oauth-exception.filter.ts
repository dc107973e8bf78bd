// Answers for every OAuthError of the application: a page or redirect for people, problem+json (RFC 9457) for scripts.
import { type ArgumentsHost, Catch, type ExceptionFilter, Injectable, Logger } from '@nestjs/common';
import { throwError } from 'rxjs';
import { randomId } from '../crypto/random.js';
import { oneLine } from '../errors/one-line.js';
import { OAuthError } from '../errors/oauth-error.js';
import { AuthUrls } from '../options/auth-urls.service.js';
import { ResolvedOptions } from '../options/resolve-options.js';
import { serializeCookie } from '../sessions/cookies.js';
import { WebRequest } from '../sessions/web-request.js';
import { WebResponse } from '../sessions/web-response.js';
import { isAuthRoute } from '../state/return-to.js';
import { page, PAGE_CSP } from './pages.js';

/** Translates {@link OAuthError}. Bound to the whole application and to `AuthController`. */
@Catch(OAuthError)
@Injectable()
export class OAuthExceptionFilter implements ExceptionFilter<OAuthError> {
  readonly #logger = new Logger('OAuth');

  constructor(
    private readonly urls: AuthUrls,
    private readonly options: ResolvedOptions,
  ) {}

  catch(error: OAuthError, host: ArgumentsHost): unknown {
    if (host.getType() === 'ws') return answerSocket(error, host.switchToWs().getClient<object>());
    // What a filter returns would be the answer to the message: only what a stream throws arrives as an error.
    if (host.getType() === 'rpc') return throwError(() => error.toJSON());
    // GraphQL has answers of its own, and knows what to do with `extensions`.
    if (host.getType() !== 'http') return error;
    const request = new WebRequest(host.switchToHttp().getRequest());
    const response = new WebResponse(host.switchToHttp().getResponse());
    if (response.isSent) return undefined;
    const correlationId = error.correlationId ?? randomId();
    if (error.correlationId === undefined) this.#log(error, request, correlationId);
    response.secure({
      ...error.headers,
      ...(error.retryAfter === undefined ? {} : { 'retry-after': String(error.retryAfter) }),
    });
    if (error.clearSession)
      response.addCookies([serializeCookie('session', '', { secure: this.options.secure, maxAge: 0 })]);
    if (request.isNavigation) this.#answerPerson(error, { request, response, correlationId });
    else this.#answerScript(error, response, correlationId);
    return undefined;
  }

  #answerPerson(
    error: OAuthError,
    { request, response, correlationId }: { request: WebRequest; response: WebResponse; correlationId: string },
  ): void {
    const loggingInHelps =
      error.code === 'unauthenticated' || (error.code === 'step_up_required' && error.loginUrl !== undefined);
    if (loggingInHelps && !this.#isOurs(request)) {
      // A navigation with an unsafe method cannot be repeated after the login.
      response.redirect(
        request.isSafe ? 302 : 303,
        error.loginUrl ?? this.urls.loginBackTo(request.landingBelow(this.urls.basePath)),
      );
      return;
    }
    if (this.options.errorRedirect !== null && this.#isLogin(request)) {
      const url = new URL(this.options.errorRedirect);
      url.searchParams.set('error', error.code);
      response.redirect(request.isSafe ? 302 : 303, url.href);
      return;
    }
    const links = error.loginUrl === undefined ? [] : [{ text: 'Log in again', href: error.loginUrl }];
    response.setHeader('content-security-policy', PAGE_CSP);
    const title =
      error.statusCode >= 500 ? 'Please try again later' : error.statusCode === 404 ? 'Not found' : 'That did not work';
    response.send(
      error.statusCode,
      'text/html; charset=utf-8',
      page({ title, text: error.message, links, smallPrint: `${error.code} · ${correlationId}` }),
    );
  }

  #answerScript(error: OAuthError, response: WebResponse, correlationId: string): void {
    response.json(
      error.statusCode,
      {
        type: 'about:blank',
        title: error.message,
        status: error.statusCode,
        code: error.code,
        correlationId,
        ...(error.provider === undefined ? {} : { provider: error.provider }),
        ...(error.loginUrl === undefined ? {} : { loginUrl: error.loginUrl }),
        ...(error.code === 'reauth_required' && error.loginUrl !== undefined ? { reconnectUrl: error.loginUrl } : {}),
      },
      'application/problem+json; charset=utf-8',
    );
  }

  #isOurs(request: WebRequest): boolean {
    return isAuthRoute(pathOf(this.urls.publicTarget(request.targetBelow(this.urls.basePath))), this.urls.path);
  }

  #isLogin(request: WebRequest): boolean {
    return this.#isOurs(request) && /\/(?:login|callback)\/?$/i.test(pathOf(request.target));
  }

  /** One bounded line. The cause was written by us or by a library; control characters are removed all the same. */
  #log(error: OAuthError, request: WebRequest, correlationId: string): void {
    const cause = error.cause instanceof Error ? `: ${error.cause.message}` : '';
    const line = oneLine(`${error.code} (${correlationId}) at ${request.method}${cause}`, 400);
    if (error.statusCode >= 500) this.#logger.error(line);
    else this.#logger.debug(line);
  }
}

function pathOf(target: string): string {
  return target.split('?', 1)[0]!;
}

/** As Nest's own filter does for `WsException`: an `exception` event, in the way of socket.io or of ws. */
function answerSocket(error: OAuthError, client: object): void {
  const { code, loginUrl } = error;
  const data = { status: 'error', code, message: error.message, ...(loginUrl === undefined ? {} : { loginUrl }) };
  const { emit, send, handshake } = client as {
    emit?: (event: string, data: object) => void;
    send?: (text: string) => void;
    handshake?: unknown;
  };
  if (handshake !== undefined) emit?.call(client, 'exception', data);
  else send?.call(client, JSON.stringify({ event: 'exception', data }));
}
