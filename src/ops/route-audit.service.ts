// Boot audit: every handler of the application with its policy. In strict mode, one that is neither guarded nor public
// keeps the application from starting, and so does one that is public and has demands of its own.
import { Injectable, Logger, type OnApplicationBootstrap } from '@nestjs/common';
import { ApplicationConfig, MetadataScanner, ModulesContainer } from '@nestjs/core';
import { OAuthConfigError } from '../errors/oauth-error.js';
import { AuthUrls } from '../options/auth-urls.service.js';
import { ResolvedOptions } from '../options/resolve-options.js';
import { contradictsItself, policyOf } from '../sessions/policy.js';
import { SessionGuard } from '../sessions/session.guard.js';
import { isAuthRoute } from '../state/return-to.js';

/** Metadata by which Nest marks handlers of HTTP and GraphQL. */
const REQUEST_MARKS = ['path', 'graphql:resolver_type'];
/** What a federation enters a subgraph by. No guard reaches it but where guards are among the `fieldResolverEnhancers`. */
const REFERENCE_MARKS = ['graphql:resolve_reference'];
const GRAPHQL_OPTIONS = 'GqlModuleOptions';
/**
 * Those of WebSocket and microservices. A global guard may not reach them: gateways of Nest 11 have none, nor has a
 * microservice of a hybrid application that does not inherit its configuration.
 */
const MESSAGE_MARKS = ['websockets:message_mapping', 'microservices:pattern'];
const GUARDS = '__guards__';
/** Where Nest's RouterModule keeps the path of a module, followed by the id of the application. */
const MODULE_PATH = '__module_path__';

/** A handler and what it takes to enter it. */
export interface AuditedRoute {
  /** `UsersController.list` */
  readonly handler: string;
  readonly policy: 'session' | 'public' | 'open';
  /** Scopes, freshness and context classes that are demanded besides. */
  readonly demands: readonly string[];
}

/** What is known of the options of a GraphQL module. */
interface GraphQlOptions {
  readonly fieldResolverEnhancers?: readonly string[];
}

/** Audits the routes. */
@Injectable()
export class RouteAudit implements OnApplicationBootstrap {
  readonly #logger = new Logger('OAuth');

  constructor(
    private readonly modules: ModulesContainer,
    private readonly application: ApplicationConfig,
    private readonly options: ResolvedOptions,
    private readonly urls: AuthUrls,
  ) {}

  /**
   * @throws {OAuthConfigError} in strict mode, naming every handler that is open by omission or public with demands; in any mode for an exemption
   *   from the cross-site check that names a route of ours, and for routes of ours that are not where we say
   */
  onApplicationBootstrap(): void {
    if (this.#isRouted())
      throw new OAuthConfigError([
        'RouterModule: its path is not known to our redirect URIs; leave OAuthModule out and say routePrefix instead',
      ]);
    // Only now is the application's global prefix known.
    if (this.urls.isDivided)
      throw new OAuthConfigError([
        "setGlobalPrefix: exclude names some routes of this module and not others; exclude all or none, e.g. 'auth/*path'",
      ]);
    const ours = [...this.options.csrf.exemptPaths].filter((path) =>
      isAuthRoute(this.urls.publicTarget(path), this.urls.path),
    );
    if (ours.length > 0)
      throw new OAuthConfigError(
        ours.map((path) => `csrf.exemptPaths: ${path} is a route of this module, which nothing exempts; remove it`),
      );
    if (this.options.routes === 'off') return;
    const routes = this.#inspect();
    const open = routes.filter(({ policy }) => policy === 'open');
    const hint = this.#guardsRequests() ? '; a global guard does not count for messages: put it on the class' : '';
    const faults = [
      ...open.map(({ handler, isUnreached }) =>
        isUnreached
          ? `${handler} is not marked @Public(), and no guard reaches it; give GraphQLModule fieldResolverEnhancers: ['guards']`
          : `${handler} is neither guarded by SessionGuard nor marked @Public()${hint}`,
      ),
      ...routes
        .filter(({ contradictory }) => contradictory)
        .map(
          ({ handler }) => `${handler} is marked @Public() and has demands, which nobody asks for; remove one of them`,
        ),
    ];
    if (this.options.routes === 'strict' && faults.length > 0) throw new OAuthConfigError(faults);
    const lines = routes.map(
      ({ handler, policy, demands }) => `  ${[policy.padEnd(8), handler, ...demands].join(' ')}`,
    );
    const log = `${routes.length} handlers:\n${lines.join('\n')}`;
    if (faults.length > 0) this.#logger.warn(log);
    else this.#logger.log(log);
  }

  /** All handlers of the application, by name. */
  list(): AuditedRoute[] {
    return this.#inspect().map(({ handler, policy, demands }) => ({ handler, policy, demands }));
  }

  #inspect(): (AuditedRoute & { readonly contradictory: boolean; readonly isUnreached: boolean })[] {
    const scanner = new MetadataScanner();
    const everywhere = this.#guardsRequests();
    const onFields = this.#guardsFields();
    const types = new Set<new (...args: never[]) => object>();
    for (const module of this.modules.values())
      for (const { metatype, instance } of [...module.controllers.values(), ...module.providers.values()])
        // Nest mounts instances: what a factory made, or was given as a value, has no metatype of its own.
        for (const type of [metatype, classOf(instance)])
          if (typeof type === 'function' && type.prototype) types.add(type as never);
    const routes = [...types].flatMap((type) =>
      scanner.getAllMethodNames(type.prototype as object).flatMap((name) => {
        const handler = (type.prototype as Record<string, unknown>)[name] as object;
        const isMessage = isMarked(handler, MESSAGE_MARKS);
        const isReference = isMarked(handler, REFERENCE_MARKS);
        if (!isMessage && !isReference && !isMarked(handler, REQUEST_MARKS)) return [];
        const { open, scopes, maxAge, acrValues } = policyOf(handler, type);
        const guarded =
          (!isReference || onFields) &&
          ((everywhere && !isMessage) || [...guardsOf(type), ...guardsOf(handler)].some(isSessionGuard));
        return [
          {
            handler: `${type.name}.${name}`,
            isUnreached: isReference && !onFields,
            contradictory: contradictsItself(handler),
            policy: open ? ('public' as const) : guarded ? ('session' as const) : ('open' as const),
            demands: [
              ...(scopes ? [`scopes=${scopes.join(',')}`] : []),
              ...(maxAge === undefined ? [] : [`maxAge=${maxAge}`]),
              ...(acrValues ? [`acr=${acrValues.join(',')}`] : []),
            ],
          },
        ];
      }),
    );
    return routes.sort((a, b) => (a.handler < b.handler ? -1 : 1));
  }

  /** Whether the module that this is part of has a path by Nest's RouterModule. */
  #isRouted(): boolean {
    return [...this.modules.values()].some(
      ({ metatype, providers }) =>
        providers.get(RouteAudit)?.instance === this &&
        Reflect.hasMetadata(MODULE_PATH + this.modules.applicationId, metatype),
    );
  }

  /** Whether the guard is bound to the whole application. */
  #guardsRequests(): boolean {
    return [
      ...this.application.getGlobalGuards(),
      ...this.application.getGlobalRequestGuards().map(({ metatype }) => metatype),
    ].some(isSessionGuard);
  }

  /** Whether guards reach what resolves fields and references, in every GraphQL module. */
  #guardsFields(): boolean {
    return [...this.modules.values()]
      .map(({ providers }) => providers.get(GRAPHQL_OPTIONS)?.instance as GraphQlOptions | undefined)
      .every((options) => !options || (options.fieldResolverEnhancers?.includes('guards') ?? false));
  }
}

function isMarked(handler: object, marks: readonly string[]): boolean {
  return marks.some((mark) => Reflect.hasMetadata(mark, handler));
}

/** Asks the prototype, as Nest does: an instance may be a proxy that answers for whatever it is asked. */
function classOf(instance: unknown): unknown {
  if (instance === undefined || instance === null) return undefined;
  return (Object.getPrototypeOf(instance) as object | null)?.constructor;
}

function guardsOf(target: object): unknown[] {
  return (Reflect.getMetadata(GUARDS, target) as unknown[] | undefined) ?? [];
}

/** Also a class of the application's own that extends it. */
function isSessionGuard(guard: unknown): boolean {
  return (
    guard === SessionGuard ||
    guard instanceof SessionGuard ||
    (typeof guard === 'function' && guard.prototype instanceof SessionGuard)
  );
}
