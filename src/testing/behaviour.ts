// What a FakeProvider does when nothing is wrong: its clients, its users, and every switch with its default.
import type { JSONWebKeySet } from 'jose';

/** A JSON object whose members are not known in advance. */
export type JsonObject = Record<string, unknown>;

/** How a client proves itself at the token, revocation and pushed request endpoints. */
export type ClientAuthMethod =
  'client_secret_basic' | 'client_secret_post' | 'client_secret_jwt' | 'private_key_jwt' | 'tls_client_auth' | 'none';

/** A registered client. */
export interface FakeClient {
  clientId: string;
  clientSecret?: string;
  /** Compared exactly. Left out, any redirect URI is accepted. */
  redirectUris?: string[];
  /** Compared exactly. Left out, any address is accepted after logout. */
  postLogoutRedirectUris?: string[];
  /** The one accepted method. Left out, every method that the registered credentials allow is accepted. */
  tokenEndpointAuthMethod?: ClientAuthMethod;
  /** Public keys for `private_key_jwt` and for signed request objects; a function is asked each time. */
  jwks?: JSONWebKeySet | (() => JSONWebKeySet | Promise<JSONWebKeySet>);
  /** Common name of the client certificate for `tls_client_auth`; needs the `tls` start option with `ca`. */
  tlsSubjectCommonName?: string;
  /** ID tokens are encrypted to this public key (`RSA-OAEP-256` or `ECDH-ES`, by its type) with `A256GCM`. */
  idTokenEncryptionKey?: JsonObject;
}

/** Somebody who can log in. Every further member becomes a claim of userinfo (and of the ID token, on request). */
export interface FakeUser {
  sub: string;
  name?: string;
  email?: string;
  email_verified?: boolean;
  [claim: string]: unknown;
}

/** Algorithms a FakeProvider can sign with. */
export type SigningAlgorithm =
  | 'RS256'
  | 'RS384'
  | 'RS512'
  | 'PS256'
  | 'PS384'
  | 'PS512'
  | 'ES256'
  | 'ES384'
  | 'ES512'
  | 'EdDSA'
  | 'Ed25519'
  | 'HS256'
  | 'HS384'
  | 'HS512';

/**
 * How a server hands out DPoP nonces: not at all; one it insists on; a new one with every good answer; or an endless
 * demand for another one.
 *
 * @see https://www.rfc-editor.org/rfc/rfc9449#section-8
 */
export type NonceMode = 'off' | 'required' | 'rotating' | 'endless';

/** Every switch of a FakeProvider; change them at any time through `provider.behaviour` or `configure()`. */
export interface FakeBehaviour {
  /** False: a plain OAuth 2.0 server without ID tokens and OIDC metadata. @defaultValue `true` */
  oidc: boolean;
  /** Whether PKCE is demanded, verified where it is used, or not looked at. @defaultValue `'required'` */
  pkce: 'required' | 'optional' | 'ignored';
  /** Each refresh answers with a new refresh token (true), with none (false), or with the same one. @defaultValue `true` */
  rotation: boolean | 'same';
  /** Milliseconds during which a spent refresh token is still accepted. @defaultValue `0` */
  reuseGracePeriod: number;
  /** Whether a spent refresh token that comes back revokes its whole family. @defaultValue `true` */
  punishReuse: boolean;
  /** Whether logins get a refresh token: always, never, or only with the scope `offline_access`. @defaultValue `true` */
  issueRefreshToken: boolean | 'offline_access';
  /** Seconds an unused refresh token lives; left out, for ever. */
  refreshTokenLifetime: number | undefined;
  /** Status of all refusals of the token endpoint; some servers answer 200. Left out, as the RFC has it. */
  tokenErrorStatus: number | undefined;
  /** `expires_in` of token answers, any JSON value; `undefined` leaves it out. @defaultValue `3600` */
  expiresIn: unknown;
  /** Seconds an access token works here; left out: as long as `expiresIn` says, if that is a positive number. */
  accessTokenLifetime: number | undefined;
  /** Least number of characters of an access token. @defaultValue `0` */
  accessTokenSize: number;
  /** @defaultValue `'opaque'` */
  accessTokenFormat: 'opaque' | 'jwt';
  /** Least number of characters of an authorization code. @defaultValue `0` */
  codeSize: number;
  /** Seconds an authorization code lives. @defaultValue `60` */
  codeLifetime: number;
  /** `scope` in token answers: `undefined` echoes what was asked, `null` leaves it out. @defaultValue `undefined` */
  scope: string | null | undefined | ((requested: string) => string);
  /** Token answers as JSON, or form-encoded as some older servers send them. @defaultValue `'json'` */
  tokenResponseFormat: 'json' | 'form';
  /** What revoking one token ends. @defaultValue `'family'` */
  revocationScope: 'token' | 'family' | 'user';
  /** @defaultValue `'RS256'` */
  idTokenAlg: SigningAlgorithm;
  /** Seconds. @defaultValue `3600` */
  idTokenLifetime: number;
  /** @defaultValue `true` */
  idTokenOnRefresh: boolean;
  /** Whether the user's own claims are in the ID token, besides userinfo. @defaultValue `false` */
  claimsInIdToken: boolean;
  /** When `auth_time` is in ID tokens. @defaultValue `'whenAsked'` (by `max_age` or by `claims`) */
  authTime: 'whenAsked' | 'always' | 'never';
  /** Seconds since the user logged in here; `max_age` and `prompt=login` do not change it once it is set. */
  authAge: number | undefined;
  /** `acr` of ID tokens: `undefined` answers the first of `acr_values`, `null` none. */
  acr: string | null | undefined;
  /** @defaultValue `['pwd']` */
  amr: string[] | undefined;
  /** Seconds by which this server's clock runs ahead. @defaultValue `0` */
  clockOffset: number;
  /** @defaultValue `'json'` */
  userinfoFormat: 'json' | 'jwt';
  /** `iss` in authorization answers (RFC 9207): the truth, none, or the text given. @defaultValue `true` */
  responseIss: boolean | string;
  /** Error with which `prompt=none` is answered; `undefined` lets it pass. */
  promptNoneError: string | undefined;
  /** Refuses authorization requests that were not pushed (RFC 9126). @defaultValue `false` */
  requirePar: boolean;
  /** Seconds a pushed request lives. @defaultValue `60` */
  parLifetime: number;
  /** Refuses authorization requests without a signed request object (RFC 9101). @defaultValue `false` */
  requireSignedRequestObject: boolean;
  /** Audience demanded of client assertions: the issuer as one string, or whatever names this server. @defaultValue `'issuer'` */
  assertionAudience: 'issuer' | 'any';
  /** Whether HTTP Basic credentials are form-decoded (RFC 6749 §2.3.1) or taken as they are. @defaultValue `'form'` */
  basicDecoding: 'form' | 'raw';
  /** Refuses token requests without a DPoP proof. @defaultValue `false` */
  requireDpop: boolean;
  /** Answers `token_type: Bearer` and binds nothing, although a proof was sent. @defaultValue `false` */
  dpopDowngrade: boolean;
  /** DPoP nonces of the authorization server. @defaultValue `'off'` */
  dpopNonce: NonceMode;
  /** DPoP nonces of the resource server. @defaultValue `'off'` */
  apiDpopNonce: NonceMode;
  /** The resource server answers with the request headers and body it received. @defaultValue `false` */
  apiEcho: boolean;
  /** Members laid over the metadata; `undefined` removes one. */
  metadata: JsonObject;
  /** Keeps every request in `provider.requests`; turn it off for benchmarks. @defaultValue `true` */
  recordRequests: boolean;
  /** Keeps every code and token in `provider.issued`; turn it off for benchmarks. @defaultValue `true` */
  recordIssued: boolean;
}

/** The behaviour of a FakeProvider that was given no options. */
export function defaultBehaviour(): FakeBehaviour {
  return {
    oidc: true,
    pkce: 'required',
    rotation: true,
    reuseGracePeriod: 0,
    punishReuse: true,
    issueRefreshToken: true,
    refreshTokenLifetime: undefined,
    tokenErrorStatus: undefined,
    expiresIn: 3600,
    accessTokenLifetime: undefined,
    accessTokenSize: 0,
    accessTokenFormat: 'opaque',
    codeSize: 0,
    codeLifetime: 60,
    scope: undefined,
    tokenResponseFormat: 'json',
    revocationScope: 'family',
    idTokenAlg: 'RS256',
    idTokenLifetime: 3600,
    idTokenOnRefresh: true,
    claimsInIdToken: false,
    authTime: 'whenAsked',
    authAge: undefined,
    acr: undefined,
    amr: ['pwd'],
    clockOffset: 0,
    userinfoFormat: 'json',
    responseIss: true,
    promptNoneError: undefined,
    requirePar: false,
    parLifetime: 60,
    requireSignedRequestObject: false,
    assertionAudience: 'issuer',
    basicDecoding: 'form',
    requireDpop: false,
    dpopDowngrade: false,
    dpopNonce: 'off',
    apiDpopNonce: 'off',
    apiEcho: false,
    metadata: {},
    recordRequests: true,
    recordIssued: true,
  };
}
