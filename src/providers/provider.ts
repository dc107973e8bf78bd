// One configured provider and everything we ever ask of it. The protocol itself is openid-client's.
import * as client from 'openid-client';
import type { ResolvedProvider } from '../options/resolve-provider.js';
import { type AuthorizationRequest, authorizationParameters } from './authorization-request.js';
import { ProviderApi } from './provider-api.js';
import { importPrivateKey } from './client-authentication.js';
import { assertIdTokenClaims } from './id-token.js';
import { identify } from './identify.js';
import type { Identity } from './identity.js';
import { type Issued, issuedBy } from './issued.js';
import { acceptedAlgorithms, verifiedSignature } from './id-token-signature.js';
import { type JarmParameters, jarmParameters } from './jarm.js';
import type { CallContext } from './provider-call.js';
import { ProviderConnection } from './provider-connection.js';
import { ProviderError } from './provider-fault.js';
import { revokeToken } from './revocation.js';
import { parseJsonObject } from './strict-json.js';

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
  /** The key that the login began with. */
  dpopKey?: string;
  /** Told of tokens as soon as they exist, so that a later failure can revoke them. */
  onIssued: NonNullable<CallContext['onIssued']>;
}

/** What the library is to judge: an issuer that we made up is no issuer to be compared. */
function answered(parameters: URLSearchParams, { syntheticIssuer }: ResolvedProvider): URLSearchParams {
  if (!syntheticIssuer || !parameters.has('iss')) return parameters;
  const others = new URLSearchParams(parameters);
  others.delete('iss');
  return others;
}

/** A configured provider. All methods throw {@link ProviderError}. */
export class Provider {
  readonly api: ProviderApi;
  readonly #connection: ProviderConnection;

  /** @param moved told when the provider's metadata names other hosts than before */
  constructor(
    readonly definition: ResolvedProvider,
    moved?: (endpoints: readonly string[]) => void,
  ) {
    this.#connection = new ProviderConnection(definition, moved);
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
    const algorithms = acceptedAlgorithms(this.definition, advertised);
    return verifiedSignature(jws, { definition: this.definition, keySet: this.keySet, algorithms, origin: 'logout' });
  }

  /**
   * Absolute URL that the browser is sent to. Goes through PAR where the provider requires it or the option says so
   * (RFC 9126), as a signed request object likewise (RFC 9101).
   */
  async authorizationUrl(request: AuthorizationRequest): Promise<URL> {
    return this.#connection.call('provider_error', {}, async ({ config, metadata }) => {
      const { definition } = this;
      let parameters = await authorizationParameters(definition, request);
      const mustPush = metadata.require_pushed_authorization_requests === true;
      if (mustPush && definition.par === false) throw this.#cannot('remove par: false, this provider demands PAR');
      if (definition.signedRequest || metadata.require_signed_request_object === true) {
        const [key] = definition.clientPrivateKeys;
        if (!key) throw this.#cannot('this provider demands signed requests: give a clientPrivateKey');
        const signed = await client.buildAuthorizationUrlWithJAR(config, parameters, await importPrivateKey(key));
        // Some servers want the parameters of RFC 6749 outside as well; RFC 9101 §5 asks for client_id alone.
        parameters = new URLSearchParams({
          client_id: definition.clientId,
          request: signed.searchParams.get('request')!,
        });
      }
      return definition.par || mustPush
        ? client.buildAuthorizationUrlWithPAR(config, parameters, await this.#connection.dpop(config, request.dpopKey))
        : client.buildAuthorizationUrl(config, parameters);
    });
  }

  #cannot(reason: string): ProviderError {
    return new ProviderError('invalid_metadata', { provider: this.name, cause: new Error(reason) });
  }

  /** True when the provider promises `iss` in its authorization responses (RFC 9207 §3). */
  async sendsIssuer(): Promise<boolean> {
    return (await this.metadata()).authorization_response_iss_parameter_supported === true;
  }

  /** The parameters of a signed authorization response (JARM), once its signature, issuer, audience and expiry hold. */
  async openResponse(response: string): Promise<JarmParameters> {
    const { name: provider, issuer, clientId } = this.definition;
    return this.#connection.call('invalid_id_token', {}, async ({ metadata }) => {
      const advertised = metadata.authorization_signing_alg_values_supported as readonly string[] | undefined;
      const { payload } = await this.keySet.verify(
        response,
        acceptedAlgorithms({ security: this.definition.security }, advertised),
        { origin: 'browser' },
      );
      const claims = parseJsonObject(Buffer.from(payload).toString('utf8'));
      return jarmParameters(claims, { provider, issuer, clientId });
    });
  }

  /** Redeems a code: one token request, then the ID token with signature, nonce and demands. */
  async exchange(exchange: CodeExchange): Promise<Issued> {
    const { definition } = this;
    const oidc = definition.kind === 'oidc';
    const maxAge = exchange.maxAge ?? definition.maxAge;
    const currentUrl = new URL(exchange.redirectUri);
    currentUrl.search = String(answered(exchange.parameters, definition));
    const issued = await this.#connection.call(
      oidc ? 'invalid_id_token' : 'invalid_token_response',
      { onIssued: exchange.onIssued },
      async (call) => {
        const { config } = call;
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
          await this.#connection.dpop(config, exchange.dpopKey),
        );
        return issuedBy({ definition: this.definition, call }, answer, {
          scope: exchange.requestedScope,
          dpopKey: exchange.dpopKey,
        });
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
  async identify(issued: Issued): Promise<Identity> {
    return identify({ connection: this.#connection, api: this.api }, issued);
  }

  /** Uses a refresh token once. @param request.signal ends the request at the caller's own deadline */
  async refresh(request: {
    refreshToken: string;
    scope?: readonly string[];
    resource?: readonly string[];
    grantedScope: readonly string[];
    /** The grant's key, for tokens that are bound to one. */
    dpopKey?: string | undefined;
    signal?: AbortSignal;
    onIssued?: CallContext['onIssued'];
  }): Promise<Issued> {
    const context: CallContext = {
      ...(request.signal ? { signal: request.signal } : {}),
      ...(request.onIssued ? { onIssued: request.onIssued } : {}),
    };
    return this.#connection.call('invalid_token_response', context, async (call) => {
      const { config } = call;
      const parameters = this.#tokenParameters(request.resource ?? this.definition.resource);
      if (request.scope) parameters.set('scope', request.scope.join(' '));
      const proof = await this.#connection.dpop(config, request.dpopKey);
      const answer = await client.refreshTokenGrant(config, request.refreshToken, parameters, proof);
      return issuedBy({ definition: this.definition, call }, answer, {
        scope: request.scope ?? request.grantedScope,
        dpopKey: request.dpopKey,
      });
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
}
