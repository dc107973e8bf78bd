// One configured provider and everything we ever ask of it. The protocol itself is openid-client's.
import * as client from 'openid-client';
import type { ProviderProfile } from '../options/provider-options.js';
import type { ResolvedProvider } from '../options/resolve-provider.js';
import { ProviderApi } from './provider-api.js';
import { checkedSubject, claimDate, claimText, type Identity, mapProfile } from './identity.js';
import { assertIdTokenClaims } from './id-token.js';
import { type CallContext, ProviderConnection } from './provider-connection.js';
import { ProviderError } from './provider-fault.js';
import { revokeToken } from './revocation.js';
import { LIFETIME, regularLifetime, scopeList } from './token-response.js';
import { TokenSet } from './token-set.js';

/** What is asked of the provider at the start of a login. */
export interface AuthorizationRequest {
  redirectUri: string;
  state: string;
  codeChallenge: string;
  nonce: string;
  scope: readonly string[];
  prompt?: string;
  /** Seconds. */
  maxAge?: number;
  acrValues?: readonly string[];
  /** Further parameters that the application allowed by name. */
  extra?: Readonly<Record<string, string>>;
}

/** What comes back at the end of it, with what was remembered. */
export interface CodeExchange {
  redirectUri: string;
  /** `code`, `state` and `iss` of the callback, nothing else. */
  parameters: URLSearchParams;
  state: string;
  codeVerifier: string;
  nonce: string;
  requestedScope: readonly string[];
  maxAge?: number;
  acrValues?: readonly string[];
  /** Told of tokens as soon as they exist, so that a later failure can revoke them. */
  onIssued: NonNullable<CallContext['onIssued']>;
}

/** A validated answer of the token endpoint: the tokens, and the claims of the ID token if there was one. */
export interface Issued {
  tokens: TokenSet;
  claims: Readonly<Record<string, unknown>> | null;
}

/** A configured provider. All methods throw {@link ProviderError}. */
export class Provider {
  readonly api: ProviderApi;
  readonly #connection: ProviderConnection;

  constructor(readonly definition: ResolvedProvider) {
    this.#connection = new ProviderConnection(definition);
    this.api = new ProviderApi(this.#connection);
  }

  /** Name in URLs and rows. */
  get name(): string {
    return this.definition.name;
  }

  /** Issuer, possibly synthetic: half of an account's key. */
  get issuer(): string {
    return this.definition.issuer;
  }

  /** Key set, for tokens that arrive by other ways (logout tokens). */
  get keySet(): ProviderConnection['keySet'] {
    return this.#connection.keySet;
  }

  /** The provider's metadata, loaded at first use. */
  async metadata(): Promise<client.ServerMetadata> {
    return this.#connection.call('provider_error', {}, ({ metadata }) => Promise.resolve(metadata));
  }

  /**
   * Checks the signature of a JWT of this provider that came by another way (a logout token): the same keys and
   * algorithms as for ID tokens.
   * @throws {ProviderError} `invalid_id_token` when it does not hold; another code when the keys cannot be had
   */
  async verifySigned(jws: string): ReturnType<ProviderConnection['keySet']['verify']> {
    const { id_token_signing_alg_values_supported: advertised } = await this.metadata();
    return this.#connection.keySet.verify(jws, this.#connection.signatureAlgorithms(advertised));
  }

  /** Absolute URL that the browser is sent to. Goes through PAR where the provider requires it or the option says so (RFC 9126). */
  async authorizationUrl(request: AuthorizationRequest): Promise<URL> {
    return this.#connection.call('provider_error', {}, async ({ config, metadata }) => {
      const parameters = this.#authorizationParameters(request);
      const required = metadata.require_pushed_authorization_requests === true;
      if (required && this.definition.par === false) {
        throw new ProviderError('invalid_metadata', {
          provider: this.name,
          cause: new Error('the provider requires pushed authorization requests: remove par: false'),
        });
      }
      return this.definition.par || required
        ? client.buildAuthorizationUrlWithPAR(config, parameters)
        : client.buildAuthorizationUrl(config, parameters);
    });
  }

  #authorizationParameters(request: AuthorizationRequest): URLSearchParams {
    const { definition } = this;
    const parameters = new URLSearchParams({ ...definition.authorizationParams, ...request.extra });
    const prompt = request.prompt ?? definition.prompt;
    const maxAge = request.maxAge ?? definition.maxAge;
    const acrValues = request.acrValues ?? definition.acrValues;
    if (prompt !== undefined) parameters.set('prompt', prompt);
    if (maxAge !== undefined) parameters.set('max_age', String(maxAge));
    if (acrValues.length > 0) parameters.set('acr_values', acrValues.join(' '));
    if (definition.responseMode !== 'query') parameters.set('response_mode', definition.responseMode);
    for (const resource of definition.resource) parameters.append('resource', resource);
    if (request.scope.length > 0) parameters.set('scope', request.scope.join(' '));
    if (definition.kind === 'oidc') parameters.set('nonce', request.nonce);
    parameters.set('client_id', definition.clientId);
    parameters.set('redirect_uri', request.redirectUri);
    parameters.set('response_type', 'code');
    parameters.set('state', request.state);
    parameters.set('code_challenge', request.codeChallenge);
    parameters.set('code_challenge_method', 'S256');
    return parameters;
  }

  /** True when the provider promises `iss` in its authorization responses (RFC 9207 §3). */
  async sendsIssuer(): Promise<boolean> {
    return (await this.metadata()).authorization_response_iss_parameter_supported === true;
  }

  /** Redeems a code: one token request, then the ID token with signature, nonce and demands. */
  async exchange(exchange: CodeExchange): Promise<Issued> {
    const { definition } = this;
    const oidc = definition.kind === 'oidc';
    const maxAge = exchange.maxAge ?? definition.maxAge;
    const currentUrl = new URL(exchange.redirectUri);
    for (const [key, value] of exchange.parameters)
      if (key !== 'iss' || !definition.syntheticIssuer) currentUrl.searchParams.set(key, value);
    const issued = await this.#connection.call(
      oidc ? 'invalid_id_token' : 'invalid_token_response',
      { onIssued: exchange.onIssued },
      async ({ config }) => {
        const answer = await client.authorizationCodeGrant(
          config,
          currentUrl,
          {
            expectedState: exchange.state,
            pkceCodeVerifier: exchange.codeVerifier,
            ...(oidc
              ? { expectedNonce: exchange.nonce, idTokenExpected: true, ...(maxAge === undefined ? {} : { maxAge }) }
              : {}),
          },
          this.#tokenParameters(definition.resource),
        );
        return this.#issued(answer, exchange.requestedScope);
      },
    );
    if (issued.claims) {
      assertIdTokenClaims(issued.claims, {
        provider: this.name,
        clientId: definition.clientId,
        acrValues: exchange.acrValues ?? definition.acrValues,
      });
    }
    return issued;
  }

  /** Who the tokens are about: ID token and userinfo (OIDC), else the `profile` function of the provider. */
  async identify({ tokens, claims }: Issued): Promise<Identity> {
    const { definition } = this;
    const idClaims = claims ?? {};
    const subject = definition.kind === 'oidc' ? checkedSubject(idClaims.sub, this.name) : null;
    const userinfo = subject !== null && definition.userinfo !== false ? await this.#userinfo(tokens, subject) : null;
    // The ID token wins over userinfo where both speak: it is signed and bound to this login.
    const merged = { ...userinfo, ...idClaims };
    const described: ProviderProfile | null = definition.profile
      ? await definition.profile(this.api.profileContext(tokens, { claims: idClaims, userinfo }))
      : null;
    const sessionExpiry = claimDate(idClaims.session_expiry);
    return {
      issuer: definition.issuer,
      subject: subject ?? checkedSubject(described?.subject ?? described?.sub ?? described?.id, this.name),
      profile: mapProfile(described ?? merged),
      claims: described?.raw ?? (definition.kind === 'oidc' ? merged : { ...described }),
      sid: claimText(idClaims.sid),
      authTime: claimDate(idClaims.auth_time),
      acr: claimText(idClaims.acr),
      amr: Array.isArray(idClaims.amr) ? idClaims.amr.map(claimText).filter((item) => item !== null) : null,
      idTokenExpiresAt: claimDate(idClaims.exp),
      sessionExpiry,
    };
  }

  async #userinfo(tokens: TokenSet, subject: string): Promise<Record<string, unknown> | null> {
    return this.#connection.call('invalid_userinfo', {}, async ({ config, metadata }) =>
      metadata.userinfo_endpoint === undefined
        ? null
        : { ...(await client.fetchUserInfo(config, tokens.accessToken, subject)) },
    );
  }

  /** Uses a refresh token once. @param request.signal ends the request at the caller's own deadline */
  async refresh(request: {
    refreshToken: string;
    scope?: readonly string[];
    resource?: readonly string[];
    grantedScope: readonly string[];
    signal?: AbortSignal;
    onIssued?: CallContext['onIssued'];
  }): Promise<Issued> {
    const context: CallContext = {
      ...(request.signal ? { signal: request.signal } : {}),
      ...(request.onIssued ? { onIssued: request.onIssued } : {}),
    };
    return this.#connection.call('invalid_token_response', context, async ({ config }) => {
      const parameters = this.#tokenParameters(request.resource ?? this.definition.resource);
      if (request.scope) parameters.set('scope', request.scope.join(' '));
      const answer = await client.refreshTokenGrant(config, request.refreshToken, parameters);
      return this.#issued(answer, request.scope ?? request.grantedScope);
    });
  }

  /** Revokes a token (RFC 7009, or the provider's own way). Success also where the provider has no revocation at all. @returns false when there is no way to revoke */
  async revoke(token: string, hint: 'access_token' | 'refresh_token'): Promise<boolean> {
    return this.#connection.call('provider_error', {}, ({ config, metadata }) =>
      revokeToken({ definition: this.definition, config, metadata }, token, hint),
    );
  }

  /** URL of the provider's end-session endpoint, or null where there is none (OIDC RP-Initiated Logout §2). */
  async endSessionUrl(parameters: Record<string, string>): Promise<URL | null> {
    return this.#connection.call('provider_error', {}, ({ config, metadata }) =>
      Promise.resolve(
        metadata.end_session_endpoint === undefined ? null : client.buildEndSessionUrl(config, parameters),
      ),
    );
  }

  #tokenParameters(resource: readonly string[]): URLSearchParams {
    const parameters = new URLSearchParams({ ...this.definition.quirks?.tokenParams?.() });
    for (const item of resource) parameters.append('resource', item);
    return parameters;
  }

  #issued(answer: Awaited<ReturnType<typeof client.refreshTokenGrant>>, requestedScope: readonly string[]): Issued {
    const tokens = new TokenSet({
      accessToken: answer.access_token,
      tokenType: answer.token_type === 'dpop' ? 'DPoP' : 'Bearer',
      expiresIn: (answer[LIFETIME] as number | undefined) ?? this.definition.defaultExpiresIn ?? null,
      refreshToken: answer.refresh_token ?? null,
      idToken: answer.id_token ?? null,
      scope: scopeList(answer.scope) ?? requestedScope,
      refreshExpiresIn:
        regularLifetime(answer.refresh_token_expires_in ?? answer.refresh_expires_in) ??
        this.definition.refreshTokenLifetime ??
        null,
    });
    if (tokens.tokenType === 'DPoP' && !this.definition.dpop) {
      throw new ProviderError('invalid_token_response', {
        provider: this.name,
        cause: new Error('a DPoP-bound token was issued although none was asked for'),
      });
    }
    return { tokens, claims: (answer.claims() as Record<string, unknown> | undefined) ?? null };
  }
}
