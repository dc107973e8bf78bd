// Absolute URLs of our own routes: baseUrl, plus the application's global prefix unless excluded, plus routePrefix.
import { Inject, Injectable, RequestMethod } from '@nestjs/common';
import { ApplicationConfig } from '@nestjs/core';
import { ResolvedOptions } from './resolve-options.js';
import { MAX_RETURN_TO_LENGTH } from './urls.js';

/** Injection token of the `routePrefix`, fixed where the module is defined. */
export const ROUTE_PREFIX = Symbol('OAUTH_ROUTE_PREFIX');

/** Of exclusions from the global prefix; Nest takes -1 for all as well. */
const FOR_GET: readonly number[] = [RequestMethod.GET, RequestMethod.ALL, -1];

/** Where the auth routes are, below this global prefix. */
interface Routes {
  readonly prefix: string;
  readonly base: string;
  readonly path: string;
}

/** Builds URLs from the configuration alone: no header of any request plays a part. */
@Injectable()
export class AuthUrls {
  /** Path of `baseUrl`, without trailing slash; empty where it has none. Guards with demands ask for each request. */
  readonly basePath: string;
  #known: Routes | undefined;

  constructor(
    private readonly options: ResolvedOptions,
    @Inject(ROUTE_PREFIX) private readonly routePrefix: string,
    private readonly application: ApplicationConfig,
  ) {
    this.basePath = new URL(options.baseUrl).pathname.replace(/\/+$/, '');
  }

  /** URL of the auth routes, without trailing slash. Read late: applications set their prefix after the module is built. */
  get base(): string {
    return this.#routes().base;
  }

  /** Path of the auth routes, for comparing with `returnTo`. */
  get path(): string {
    return this.#routes().path;
  }

  /** The redirect URI of a provider (RFC 6749 §3.1.2). */
  callback(provider: string): string {
    return `${this.base}/${provider}/callback`;
  }

  /** URL that begins a login: at one provider, or at the chooser. */
  login(provider?: string, parameters: Readonly<Record<string, string | undefined>> = {}): string {
    const url = new URL(provider === undefined ? `${this.base}/login` : `${this.base}/${provider}/login`);
    for (const [name, value] of Object.entries(parameters)) if (value !== undefined) url.searchParams.set(name, value);
    return url.href;
  }

  /**
   * URL that begins a login which comes back to a page of this application.
   * @param target request target of the page; one that is too long would be ignored anyway, and is left out
   */
  loginBackTo(target: string, provider?: string, parameters: Readonly<Record<string, string>> = {}): string {
    const returnTo = this.publicTarget(target);
    return this.login(provider, {
      returnTo: returnTo.length > MAX_RETURN_TO_LENGTH ? '/' : returnTo,
      ...parameters,
    });
  }

  /** The public URL of a request target of this application. */
  publicTarget(target: string): string {
    return this.basePath + target;
  }

  /** Put together anew only when the prefix has changed: every login asks several times. */
  #routes(): Routes {
    const prefix = this.#globalPrefix();
    if (this.#known?.prefix === prefix) return this.#known;
    const parts = [prefix, this.routePrefix]
      .map((part) => part.replace(/^\/+|\/+$/g, ''))
      .filter((part) => part !== '');
    const base = [this.options.baseUrl, ...parts].join('/');
    return (this.#known = { prefix, base, path: new URL(base).pathname });
  }

  /** Whether some routes that browsers are sent to have the global prefix and others have not: no one address is right then. */
  get isDivided(): boolean {
    if (!this.application.getGlobalPrefix()) return false;
    return new Set(['login', ':provider/login', ':provider/callback'].map((route) => this.#isExcluded(route))).size > 1;
  }

  #globalPrefix(): string {
    return this.#isExcluded(':provider/callback') ? '' : this.application.getGlobalPrefix();
  }

  #isExcluded(route: string): boolean {
    const path = `/${this.routePrefix.replace(/^\/+|\/+$/g, '')}/${route}`;
    // What is excluded for another method leaves the routes that browsers are sent to where they are.
    const { exclude = [] } = this.application.getGlobalPrefixOptions();
    return exclude.some(({ requestMethod, pathRegex }) => FOR_GET.includes(requestMethod) && pathRegex.test(path));
  }
}
