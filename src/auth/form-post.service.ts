// Callbacks by POST (OAuth 2.0 Form Post Response Mode), with cookies that stay Lax: a cross-site POST comes without
// the binding cookie, so its fields are posted once more from a page of our own origin, and only that one is judged.
import { Injectable, type OnModuleInit } from '@nestjs/common';
import { HttpAdapterHost } from '@nestjs/core';
import { OAuthError } from '../errors/oauth-error.js';
import { AuthUrls } from '../options/auth-urls.service.js';
import { ResolvedOptions } from '../options/resolve-options.js';
import { ProviderRegistry } from '../providers/provider.registry.js';
import type { WebRequest } from '../sessions/web-request.js';
import { MAX_CALLBACK_LENGTH, callbackParameters } from '../strategy/callback-parameters.js';
import { postedParameters } from '../strategy/callback-body.js';
import { formCsp, page } from './pages.js';

/** Says that the fields were posted by our own page: it happens once, also where cookies are blocked. */
const MARK = 'relayed';
const FORM = 'application/x-www-form-urlencoded';

/** What Fastify offers for reading bodies. */
interface ParsesContent {
  hasContentTypeParser(type: string): boolean;
  addContentTypeParser(
    type: string,
    options: { parseAs: 'string'; bodyLimit: number },
    parser: (request: unknown, body: string, done: (error: null, body: string) => void) => void,
  ): void;
}

/** Receives posted callbacks. */
@Injectable()
export class FormPost implements OnModuleInit {
  constructor(
    private readonly adapters: HttpAdapterHost,
    private readonly providers: ProviderRegistry,
    private readonly urls: AuthUrls,
    private readonly options: ResolvedOptions,
  ) {}

  /** Fastify refuses content that nobody parses: where the application has turned forms off, ours are read as text. */
  onModuleInit(): void {
    const server: unknown = this.adapters.httpAdapter?.getInstance?.();
    if (typeof (server as Partial<ParsesContent> | null)?.addContentTypeParser !== 'function') return;
    const fastify = server as ParsesContent;
    if (fastify.hasContentTypeParser(FORM)) return;
    const bodyLimit = 8 * MAX_CALLBACK_LENGTH;
    fastify.addContentTypeParser(FORM, { parseAs: 'string', bodyLimit }, (_request, body, done) => done(null, body));
  }

  /** @throws {OAuthError} `method_not_allowed`, `unknown_provider` */
  assertMethod(provider: string, method: 'GET' | 'POST'): void {
    const { responseMode } = this.providers.get(provider).definition;
    const allow = responseMode === 'form_post' ? 'POST' : 'GET';
    if (method !== allow) throw new OAuthError('method_not_allowed', { headers: { allow } });
  }

  /**
   * The page that posts the same fields again, or null when this request is to be judged.
   * @throws {OAuthError} for what is no callback at all, and `cookies_blocked` for a second post without cookie
   */
  async relay(
    request: WebRequest,
    provider: string,
  ): Promise<{ page: string; headers: Readonly<Record<string, string>> } | null> {
    if (request.isEmbedded)
      throw new OAuthError('cross_site', { cause: new Error('the callback is for top-level navigations') });
    const encoded = await postedParameters(request);
    if (request.cookie('browser', this.options.secure).present) return null;
    const { state, code, error, iss, response } = callbackParameters(encoded);
    if (new URLSearchParams(encoded).has(MARK))
      throw new OAuthError('cookies_blocked', { provider, loginUrl: this.urls.login(provider) });
    const known = { state, code, error, iss, response, [MARK]: '1' };
    const fields = Object.fromEntries(
      Object.entries(known).filter((field): field is [string, string] => field[1] !== undefined),
    );
    const form = { action: this.urls.callback(provider), fields, button: 'Continue' };
    return {
      page: page({ title: 'One moment', text: 'Your login is being finished.', form }),
      // Without a referrer the browser would say `Origin: null` of its own page.
      headers: { 'content-security-policy': formCsp(this.#landings()), 'referrer-policy': 'same-origin' },
    };
  }

  #landings(): string[] {
    const { returnToOrigins, errorRedirect, origin } = this.options;
    const origins = [...returnToOrigins, ...(errorRedirect === null ? [] : [new URL(errorRedirect).origin])];
    return origins.filter((item) => item !== origin);
  }
}
