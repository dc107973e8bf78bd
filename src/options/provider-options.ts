// What a provider is, as configured. Presets return these; nobody else needs to know how they differ.
import type { JWK } from 'jose';
import type { ProviderTlsOptions } from './client-tls.js';
import type { OAuthProfile } from './login.js';

/** How this application proves who it is at the token endpoint (RFC 6749 §2.3, RFC 7523, OIDC Core §9). */
export type ClientAuthentication =
  | 'client_secret_post'
  | 'client_secret_basic'
  | 'client_secret_jwt'
  | 'private_key_jwt'
  | 'tls_client_auth'
  | 'self_signed_tls_client_auth'
  | 'none';

/** Options that every kind of provider has. */
export interface CommonProviderOptions {
  /** Name in URLs (`/auth/:name/login`) and in the database: lower-case letters, digits, `-` and `_`. Never rename one that is in use. */
  name: string;
  /** Text of the button. @defaultValue the name */
  displayName?: string;
  /** The id under which this application is registered at the provider. */
  clientId: string;
  /** The secret that goes with it. Not needed with a `clientPrivateKey`, a client certificate, or `clientAuthentication: 'none'`. */
  clientSecret?: string;
  /** Method of client authentication. @defaultValue `client_secret_post`, or Basic where the metadata lists only that; `private_key_jwt` where a key is given */
  clientAuthentication?: ClientAuthentication;
  /** Private JWK for `private_key_jwt`; the first of a list signs, so that keys can be rotated. At least RSA 2048 or P-256. */
  clientPrivateKey?: JWK | readonly JWK[];
  /** Scope to ask for: ask for the least that works. `oidc()` adds `openid` where it is missing. @defaultValue `oidc()` and `google()`: `openid`, `profile`, `email`; `github()`: `read:user`, `user:email`; else none */
  scope?: readonly string[];
  /** Further parameters of the authorization request, e.g. `{ access_type: 'offline' }`. Parameters of the protocol itself are refused. */
  authorizationParams?: Readonly<Record<string, string>>;
  /** Query parameters of `/login` that are passed on to the provider, by name (e.g. `['login_hint']`). @defaultValue none */
  loginParams?: readonly string[];
  /** `prompt` of the authorization request (OIDC Core §3.1.2.1). */
  prompt?: string;
  /** Longest time since the person last authenticated at the provider, seconds; verified against `auth_time`. */
  maxAge?: number;
  /** Accepted authentication context classes; one of them must come back as `acr`. */
  acrValues?: readonly string[];
  /** Resource indicators (RFC 8707). */
  resource?: readonly string[];
  /** The `claims` parameter (OIDC Core §5.5), e.g. `{ id_token: { email: { essential: true } } }`. */
  claims?: Readonly<Record<string, unknown>>;
  /** What exactly is to be allowed (RFC 9396). */
  authorizationDetails?: readonly Readonly<Record<string, unknown>>[];
  /** Send the authorization request as a signed request object (RFC 9101), with the first `clientPrivateKey`. @defaultValue where the metadata requires it */
  signedRequest?: boolean;
  /** How the provider answers. `form_post` opens the callback for POST and closes it for GET; `jwt` accepts signed responses only (JARM). @defaultValue `query` */
  responseMode?: 'query' | 'form_post' | 'jwt';
  /** Pushed authorization requests (RFC 9126). @defaultValue where the metadata requires it */
  par?: boolean;
  /** Sender-constrained tokens (RFC 9449): a key per grant, sealed. A provider that answers with plain bearer tokens is refused. @defaultValue false */
  dpop?: boolean;
  /**
   * A security profile. `fapi2` (FAPI 2.0 Security Profile) turns on pushed requests and DPoP, demands `private_key_jwt`
   * or `tls_client_auth` and `iss` in responses, accepts no RS256, and refuses a provider whose metadata cannot meet it.
   */
  security?: 'fapi2';
  /** Origins that `tokens.fetch()` may send the access token to, e.g. `['https://api.github.com']`. @defaultValue the userinfo endpoint's origin, else the token endpoint's */
  apiOrigins?: readonly string[];
  /** Whose the tokens are: the account's (shared by its sessions, survives logout while needed) or one session's. @defaultValue `account` */
  grant?: 'account' | 'session';
  /** What one revocation ends at this provider: the token alone, or everything of that user. @defaultValue `grant` */
  revocation?: 'token' | 'grant';
  /** Keep an account-bound grant when its last session logs out, for work in the background. @defaultValue false */
  keepGrant?: boolean;
  /** True when refresh tokens of this provider never rotate, so a lost answer may be retried without limit. @defaultValue false */
  staticRefreshToken?: boolean;
  /** Lifetime of an access token whose answer names none, seconds. @defaultValue unknown: used until the API answers 401 */
  defaultExpiresIn?: number;
  /** Lifetime of refresh tokens, seconds, where the provider does not say. */
  refreshTokenLifetime?: number;
  /** Deadline of one request to the provider, milliseconds, including the body. @defaultValue 10000 */
  timeout?: number;
  /** TLS of its own for all requests to this provider: `{ cert, key }` for `tls_client_auth`, `{ ca }` for a private authority. All PEM. */
  tls?: ProviderTlsOptions;
  /** An undici `Dispatcher` for all requests to this provider: a proxy, limits on connections. Of the undici version that Node's own `fetch` is made of. (One that is set globally counts for calls of APIs alone.) */
  dispatcher?: object;
  /** Where people log in. @defaultValue from the metadata */
  authorizationEndpoint?: string;
  /** Where codes and refresh tokens are exchanged. @defaultValue from the metadata */
  tokenEndpoint?: string;
  /** Who is it (OIDC Core §5.3)? @defaultValue from the metadata */
  userinfoEndpoint?: string;
  /** Where tokens are revoked (RFC 7009). Without one, nothing is revoked at the provider. @defaultValue from the metadata */
  revocationEndpoint?: string;
  /** Where people log out of the provider (OpenID Connect RP-Initiated Logout). @defaultValue from the metadata */
  endSessionEndpoint?: string;
  /** Where requests are pushed (RFC 9126). @defaultValue from the metadata */
  pushedAuthorizationRequestEndpoint?: string;
  /** The provider's public keys. @defaultValue from the metadata */
  jwksUri?: string;
}

/** An OpenID Connect provider, found by its issuer. Endpoints given here win over discovered ones. */
export interface OidcProviderOptions extends CommonProviderOptions {
  /** The issuer identifier, exactly as the provider spells it (trailing slash included). */
  issuer: string;
  /** Call the userinfo endpoint at login. @defaultValue true where the metadata names one */
  userinfo?: boolean;
  /** The one accepted signature algorithm of ID tokens. `HS256` (with the client secret) is accepted only by naming it here. @defaultValue those in the metadata, never `none` nor HMAC */
  idTokenSignedResponseAlg?: string;
  /** Accept logout tokens without `exp`, at most two minutes old, from providers that leave it out. @defaultValue false */
  logoutTokenWithoutExp?: boolean;
  /** Replaces the mapping from claims to the profile. */
  profile?: (context: ProfileContext) => ProviderProfile | Promise<ProviderProfile>;
}

/** A plain OAuth 2.0 provider: endpoints by hand, identity from its API. */
export interface OAuth2ProviderOptions extends CommonProviderOptions {
  /** Where people log in. */
  authorizationEndpoint: string;
  /** Where codes and refresh tokens are exchanged. */
  tokenEndpoint: string;
  /** The issuer, where the provider has one; answers are then checked for `iss` (RFC 9207). @defaultValue synthetic */
  issuer?: string;
  /** Who is it? Asks the provider's API with the fresh access token and returns at least the subject. */
  profile: (context: ProfileContext) => ProviderProfile | Promise<ProviderProfile>;
}

/** What a `profile` function works with. */
export interface ProfileContext {
  /** Claims of the ID token (OIDC), else empty. */
  readonly claims: Readonly<Record<string, unknown>>;
  /** Answer of the userinfo endpoint, else null. */
  readonly userinfo: Readonly<Record<string, unknown>> | null;
  /** The granted scope. */
  readonly scope: readonly string[];
  /** The fresh access token, for APIs that want it elsewhere than in the `Authorization` header. Never store or log it. */
  readonly accessToken: string;
  /**
   * GETs a JSON object or array from the provider with the access token in the `Authorization` header.
   * Only origins in `apiOrigins` get the token.
   * @throws {OAuthError} `invalid_userinfo` for anything but a 200 with JSON.
   */
  readonly json: (url: string) => Promise<unknown>;
  /** Like `fetch`, with the access token, under the same rules. */
  readonly fetch: (url: string, init?: RequestInit) => Promise<Response>;
}

/** What a `profile` function returns: the subject, and whatever is known besides. Standard OIDC claims are understood as well (`sub`, `preferred_username`, `email_verified`). */
export interface ProviderProfile extends Partial<Omit<OAuthProfile, never>> {
  /** The provider's stable id for the person: never an e-mail address nor a login name. 1 to 255 characters; numbers are turned into text. */
  subject?: string | number;
  /** Raw answer, given to `onLogin` as `claims`. */
  raw?: Readonly<Record<string, unknown>>;
  readonly [claim: string]: unknown;
}

/** A provider as `OAuthModule.forRoot({ providers })` takes it. Made by `oidc()`, `oauth2()`, `github()`, `google()` or `fromPassport()`. */
export type ProviderDefinition =
  | ({ readonly kind: 'oidc'; readonly quirks?: ProviderQuirks } & OidcProviderOptions)
  | ({ readonly kind: 'oauth2'; readonly quirks?: ProviderQuirks } & OAuth2ProviderOptions);

/** A definition whose name the compiler knows. @see OAuthTypes */
export type NamedProvider<Name extends string> = ProviderDefinition & { readonly name: Name };

/** Known departures from the standards that a preset declares. Quirks translate; none of them drops a check. */
export interface ProviderQuirks {
  /** Scope in answers is separated by this instead of a space. */
  readonly scopeSeparator?: string;
  /** Scope in authorization requests is separated by this instead of a space. */
  readonly requestScopeSeparator?: string;
  /** The token endpoint has names of its own for errors; these are the standard ones (RFC 6749 §5.2). */
  readonly errorNames?: ReadonlyMap<string, string>;
  /** The token endpoint may answer form-encoded. */
  readonly formEncodedTokens?: boolean;
  /** How tokens are revoked, where not by RFC 7009. */
  readonly revoke?: 'github';
  /** Further parameters of token requests, computed per request. */
  readonly tokenParams?: () => Readonly<Record<string, string>>;
}
