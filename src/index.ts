// The public API, by name.
export { OAuthModule } from './oauth.module.js';
export { oauthEntities } from './entities.js';

export { SessionGuard } from './sessions/session.guard.js';
export { Public } from './sessions/public.decorator.js';
export { RequireAcr, RequireFreshAuth, RequireScopes } from './sessions/requirements.decorator.js';
export { CurrentSession, CurrentUser } from './sessions/current-user.decorator.js';

export { AuthController } from './auth/auth.controller.js';
export { OAuthExceptionFilter } from './auth/oauth-exception.filter.js';
export { StateService } from './state/state.service.js';
export { TokenService, type UserTokens } from './grants/token.service.js';
export { SocketSessions } from './sessions/socket-sessions.service.js';
export { OAuthHealthIndicator, type OAuthHealth } from './ops/health.service.js';
export { RouteAudit, type AuditedRoute } from './ops/route-audit.service.js';
export { SessionService, type SessionSummary } from './sessions/session.service.js';
export { AccountService, type OAuthAccount } from './accounts/account.service.js';
export type { UnlinkOptions } from './accounts/account-unlinker.js';
export { ProviderRegistry } from './providers/provider.registry.js';
export { OAuthStrategy } from './strategy/oauth.strategy.js';
export { fromPassport, type FromPassportOptions, type PassportOAuth2Strategy } from './strategy/from-passport.js';
export { OAuthEvents, type OAuthEventMap } from './events/oauth-events.service.js';

export { AccessToken } from './grants/access-token.js';
export type { AccessTokenRequest, GrantRef, UserGrant } from './grants/grant-ref.js';
export type { KnownAccount, OAuthAppUser, OAuthLogin, OAuthProfile, OAuthUser } from './options/login.js';
export type { OAuthSession } from './options/session.js';
export type { OAuthProviderName, OAuthTypes } from './options/app-types.js';
export type { MemberDecorator, ParameterOf } from './sessions/current-user.decorator.js';

export { type KeySample, type KeyUse, Rekeyer, type RekeyOptions, type RekeyProgress } from './ops/rekeyer.service.js';

export { ERROR_CODES, type OAuthErrorCode } from './errors/error-codes.js';
export { LoginRefusedError, OAuthConfigError, OAuthError } from './errors/oauth-error.js';
export { KeyRing, LocalKeyRing, UnknownKeyError, type WrappedKey } from './crypto/key-ring.js';

export type {
  CleanupOptions,
  CsrfOptions,
  EncryptionKeyOptions,
  EncryptionOptions,
  LoadedUser,
  LoginOptions,
  OAuthModuleExtras,
  OAuthModuleOptions,
  OAuthOptionsFactory,
  RefreshOptions,
  SessionOptions,
} from './options/options.js';
export type { ProviderTlsOptions } from './options/client-tls.js';
export type {
  ClientAuthentication,
  CommonProviderOptions,
  NamedProvider,
  OAuth2ProviderOptions,
  OidcProviderOptions,
  ProfileContext,
  ProviderDefinition,
  ProviderProfile,
} from './options/provider-options.js';
export { github, type GitHubOptions, google, type GoogleOptions, oauth2, oidc } from './providers/index.js';
