// Wiring only.
import { type DynamicModule, Module, type Provider as NestProvider } from '@nestjs/common';
import { APP_FILTER } from '@nestjs/core';
import { getDataSourceToken, TypeOrmModule } from '@nestjs/typeorm';
import { AccountRepository } from './accounts/account.repository.js';
import { AccountUnlinker } from './accounts/account-unlinker.js';
import { AccountService } from './accounts/account.service.js';
import { AccountController, accountControllerAt } from './auth/account.controller.js';
import { AuthController, authControllerAt } from './auth/auth.controller.js';
import { FormPost } from './auth/form-post.service.js';
import { LinkRepository } from './auth/link.repository.js';
import { LinkService } from './auth/link.service.js';
import { LoginRepository } from './auth/login.repository.js';
import { LoginPreparer } from './auth/login-preparer.service.js';
import { LoginService } from './auth/login.service.js';
import { ProviderLogout } from './auth/logout-provider.service.js';
import { ProviderLogoutController, providerLogoutControllerAt } from './auth/logout.controller.js';
import { LogoutRepository } from './auth/logout.repository.js';
import { LogoutService } from './auth/logout.service.js';
import { OAuthExceptionFilter } from './auth/oauth-exception.filter.js';
import { StepUpLogin } from './auth/step-up-login.service.js';
import { ThirdPartyController, thirdPartyControllerAt } from './auth/third-party.controller.js';
import { UnlinkService } from './auth/unlink.service.js';
import { Sealer } from './crypto/sealing.js';
import { Database, OAUTH_DATA_SOURCE } from './database/database.service.js';
import { Listener } from './database/listener.service.js';
import { oauthEntities } from './entities.js';
import { OAuthConfigError } from './errors/oauth-error.js';
import { OAuthEvents } from './events/oauth-events.service.js';
import { GrantEndRepository } from './grants/grant-end.repository.js';
import { GrantEnder } from './grants/grant-ender.service.js';
import { GrantKeeper } from './grants/grant-keeper.service.js';
import { GrantRepository } from './grants/grant.repository.js';
import { GrantVerdict } from './grants/grant-verdict.service.js';
import { LeaseRepository } from './grants/lease.repository.js';
import { LeaseWatch } from './grants/lease-watch.service.js';
import { LeasedRefresh } from './grants/leased-refresh.service.js';
import { ProviderHealth } from './grants/provider-health.service.js';
import { RefreshCommit } from './grants/refresh-commit.service.js';
import { RefreshFaults } from './grants/refresh-faults.service.js';
import { RefreshedIdentity } from './grants/refreshed-identity.service.js';
import { Refresher } from './grants/refresh.service.js';
import { RevocationOutbox } from './grants/revocation-outbox.service.js';
import { RevocationRepository } from './grants/revocation.repository.js';
import { SessionIdTokenRepository } from './grants/session-id-token.repository.js';
import { StoredTokens } from './grants/stored-token.service.js';
import { TokenService } from './grants/token.service.js';
import { Cleanup } from './ops/cleanup.service.js';
import { OAuthHealthIndicator } from './ops/health.service.js';
import { RouteAudit } from './ops/route-audit.service.js';
import { RekeyRepository } from './ops/rekey.repository.js';
import { Rekeyer } from './ops/rekeyer.service.js';
import { AuthUrls, ROUTE_PREFIX } from './options/auth-urls.service.js';
import {
  type ASYNC_OPTIONS_TYPE,
  ConfigurableModuleClass,
  OAUTH_MODULE_OPTIONS,
  type OPTIONS_TYPE,
} from './options/module-definition.js';
import type { OAuthModuleExtras, OAuthModuleOptions } from './options/options.js';
import { ResolvedOptions, resolveOptions } from './options/resolve-options.js';
import { ProviderRegistry } from './providers/provider.registry.js';
import { SessionCache } from './sessions/session-cache.service.js';
import { SessionEnder } from './sessions/session-ender.service.js';
import { SessionEnds } from './sessions/session-ends.service.js';
import { KnownSessions } from './sessions/known-sessions.service.js';
import { SessionLookup } from './sessions/session-lookup.js';
import { SessionTouches } from './sessions/session-touches.js';
import { SessionGuard } from './sessions/session.guard.js';
import { LookupRepository } from './sessions/lookup.repository.js';
import { SessionRepository } from './sessions/session.repository.js';
import { SessionService } from './sessions/session.service.js';
import { StepUp } from './sessions/step-up.service.js';
import { SocketSessions } from './sessions/socket-sessions.service.js';
import { OutcomeNotes } from './state/outcome-notes.service.js';
import { StateRepository } from './state/state.repository.js';
import { StateService } from './state/state.service.js';
import { IssuedInVain } from './strategy/issued-in-vain.service.js';
import { LoginAnswerer } from './strategy/login-answer.service.js';
import { LoginStarter } from './strategy/login-start.service.js';
import { OAuthStrategy } from './strategy/oauth.strategy.js';
import { StrategyRunner } from './strategy/strategy-runner.service.js';

const SERVICES: NestProvider[] = [
  {
    provide: ResolvedOptions,
    useFactory: (options: OAuthModuleOptions) => resolveOptions(options),
    inject: [OAUTH_MODULE_OPTIONS],
  },
  { provide: Sealer, useFactory: alarmingSealer, inject: [ResolvedOptions, OAuthEvents] },
  Database,
  OAuthEvents,
  Listener,
  AuthUrls,
  ProviderRegistry,
  ...[AccountRepository, AccountService],
  ...[StateRepository, OutcomeNotes, StateService],
  ...[GrantRepository, LeaseRepository, RevocationRepository, RevocationOutbox, StoredTokens],
  ...[GrantEndRepository, GrantEnder, SessionIdTokenRepository, TokenService],
  ...[
    ProviderHealth,
    LeaseWatch,
    RefreshedIdentity,
    RefreshCommit,
    RefreshFaults,
    GrantVerdict,
    LeasedRefresh,
    Refresher,
    GrantKeeper,
  ],
  ...[
    LookupRepository,
    SessionRepository,
    SessionCache,
    SessionEnder,
    SessionEnds,
    SessionLookup,
    KnownSessions,
    SessionTouches,
    SessionService,
    SocketSessions,
    StepUp,
    SessionGuard,
  ],
  ...[LoginStarter, LoginAnswerer, IssuedInVain, OAuthStrategy, StrategyRunner],
  ...[
    LoginRepository,
    LoginPreparer,
    LoginService,
    FormPost,
    LogoutRepository,
    LogoutService,
    ProviderLogout,
    OAuthExceptionFilter,
  ],
  ...[
    StepUpLogin,
    LinkRepository,
    LinkService,
    UnlinkService,
    { provide: AccountUnlinker, useExisting: UnlinkService },
  ],
  ...[Cleanup, RouteAudit, OAuthHealthIndicator, RekeyRepository, Rekeyer],
];

/** What applications may inject; the guard's own needs are among them, since guards live in the application's modules. */
const EXPORTED = [
  ResolvedOptions,
  AuthUrls,
  OAuthEvents,
  ProviderRegistry,
  AccountService,
  StateService,
  TokenService,
  Rekeyer,
  SessionService,
  SocketSessions,
  OAuthHealthIndicator,
  RouteAudit,
  StepUp,
  SessionGuard,
];

/**
 * Login with OAuth 2.0 and OpenID Connect: routes, sessions and tokens.
 * @see OAuthModuleOptions
 */
@Module({})
export class OAuthModule extends ConfigurableModuleClass {
  /** Registers the module with options at hand. */
  static override forRoot(options: typeof OPTIONS_TYPE): DynamicModule {
    return complete(super.forRoot(options), options);
  }

  /** Registers the module with options made by a factory, a class, or an existing provider. */
  static override forRootAsync(options: typeof ASYNC_OPTIONS_TYPE): DynamicModule {
    return complete(super.forRootAsync(options), options);
  }
}

/** A sealer that tells the operator when values cannot be sealed or opened: at most once a minute, since every request may meet it. */
function alarmingSealer(options: ResolvedOptions, events: OAuthEvents): Sealer {
  let silentUntil = 0;
  return new Sealer(options.keyRing, (cause) => {
    if (performance.now() < silentUntil) return;
    silentUntil = performance.now() + 60_000;
    const reason = cause instanceof Error ? cause.message : 'unknown error';
    events.emit('alarm', { code: 'key_unavailable', message: `a stored secret cannot be sealed or opened: ${reason}` });
  });
}

function complete(definition: DynamicModule, { global, routePrefix, dataSource }: OAuthModuleExtras): DynamicModule {
  const prefix = (routePrefix ?? 'auth').replace(/^\/+|\/+$/g, '');
  if (!/^(?:(?!\.{1,2}(?:\/|$))[\w.~-]+(?:\/(?!$)|$))+$/.test(prefix)) {
    throw new OAuthConfigError([
      `routePrefix: must be a path of plain segments, e.g. 'auth' or 'api/auth', got ${JSON.stringify(routePrefix)}`,
    ]);
  }
  return {
    ...definition,
    global: global ?? true,
    imports: [...(definition.imports ?? []), TypeOrmModule.forFeature(oauthEntities, dataSource)],
    controllers:
      prefix === 'auth'
        ? [AuthController, ProviderLogoutController, AccountController, ThirdPartyController]
        : [authControllerAt, providerLogoutControllerAt, accountControllerAt, thirdPartyControllerAt].map((at) =>
            at(prefix),
          ),
    providers: [
      ...(definition.providers ?? []),
      { provide: ROUTE_PREFIX, useValue: prefix },
      { provide: OAUTH_DATA_SOURCE, useExisting: getDataSourceToken(dataSource) },
      ...SERVICES,
      { provide: APP_FILTER, useExisting: OAuthExceptionFilter },
    ],
    exports: [...(definition.exports ?? []), ...EXPORTED],
  };
}
