// One provider as seen by the protocol library: metadata and keys loaded lazily, every request through our door.
import { AsyncLocalStorage } from 'node:async_hooks';
import * as client from 'openid-client';
import type { ResolvedProvider } from '../options/resolve-provider.js';
import { clientAuthentication } from './client-authentication.js';
import { type DoorAnswer, requestProvider } from './http-door.js';
import { CLOCK_TOLERANCE } from './id-token.js';
import { KeySet, SIGNATURE_ALGORITHMS } from './key-set.js';
import { loadMetadata } from './metadata.js';
import { asProviderError, ProviderError } from './provider-fault.js';
import { parseJsonObject } from './strict-json.js';
import { copiedHeaders, regularTokenResponse } from './token-response.js';

/** Discovered metadata is believed this long, then loaded again behind. Milliseconds. */
const METADATA_MAX_AGE = 3_600_000;

/** What one call of the library may know and report: it has no parameter for either. */
export interface CallContext {
  /** Ends every request of this call. */
  signal?: AbortSignal;
  /** Told of tokens as soon as they are issued, before any check of the ID token can fail. */
  onIssued?: (tokens: { accessToken: string; refreshToken: string | null }) => void;
}

interface Loaded {
  config: client.Configuration;
  metadata: client.ServerMetadata;
  loadedAt: number;
}

/** Holds the library's configuration of one provider and answers the library's requests. */
export class ProviderConnection {
  readonly keySet: KeySet;
  readonly #context = new AsyncLocalStorage<CallContext>();
  #loaded: Loaded | undefined;
  #loading: Promise<Loaded> | undefined;

  constructor(readonly definition: ResolvedProvider) {
    this.keySet = new KeySet(definition.name, () => this.#downloadKeys());
  }

  /**
   * The library's configuration, loaded at first use and again after a failure.
   * @throws {ProviderError} when the metadata cannot be had or is refused
   */
  async load(): Promise<Loaded> {
    if (this.#loaded) {
      if (performance.now() - this.#loaded.loadedAt > METADATA_MAX_AGE) this.#reload().catch(() => undefined);
      return this.#loaded;
    }
    return this.#reload();
  }

  /** Runs one operation of the library; whatever fails comes out as a ProviderError. */
  async call<T>(
    fallback: 'provider_error' | 'invalid_token_response' | 'invalid_id_token' | 'invalid_userinfo',
    context: CallContext,
    work: (loaded: Loaded) => Promise<T>,
  ): Promise<T> {
    try {
      const loaded = await this.load();
      return await this.#context.run(context, () => work(loaded));
    } catch (error) {
      throw asProviderError(error, this.definition.name, fallback);
    }
  }

  /** Algorithms that a signature of this provider may have. */
  signatureAlgorithms(advertised: readonly string[] | undefined): readonly string[] {
    const { idTokenSignedResponseAlg: pinned } = this.definition;
    if (pinned !== undefined) return [pinned];
    return SIGNATURE_ALGORITHMS.filter((alg) => (advertised ?? ['RS256']).includes(alg));
  }

  #reload(): Promise<Loaded> {
    this.#loading ??= this.#build().finally(() => (this.#loading = undefined));
    return this.#loading;
  }

  async #build(): Promise<Loaded> {
    const { definition } = this;
    const metadata = await loadMetadata(definition);
    const authentication = await clientAuthentication(definition, metadata.token_endpoint_auth_methods_supported);
    const config = new client.Configuration(
      metadata,
      definition.clientId,
      {
        [client.clockTolerance]: CLOCK_TOLERANCE,
        ...(definition.idTokenSignedResponseAlg
          ? { id_token_signed_response_alg: definition.idTokenSignedResponseAlg }
          : {}),
      },
      authentication,
    );
    config[client.customFetch] = (url, options) => this.#answer(url, options);
    config.timeout = 0;
    // The door itself refuses plain http anywhere but on loopback.
    client.allowInsecureRequests(config);
    this.#loaded = { config, metadata, loadedAt: performance.now() };
    return this.#loaded;
  }

  /** Answers one request of the library. Tokens are made regular and signatures checked before the library sees them. */
  async #answer(url: string, options: client.CustomFetchOptions): Promise<Response> {
    const { definition } = this;
    const context = this.#context.getStore() ?? {};
    const answer = await requestProvider({
      url,
      method: options.method,
      headers: options.headers,
      body: options.body as RequestInit['body'],
      timeout: definition.timeout,
      signal: context.signal,
      provider: definition.name,
    });
    const metadata = this.#loaded?.metadata;
    if (url === metadata?.token_endpoint) return this.#answerTokens(answer, context);
    if (answer.contentType === 'application/jwt' && answer.status === 200) {
      await this.keySet.verify(
        answer.body.toString('utf8').trim(),
        this.signatureAlgorithms(metadata?.userinfo_signing_alg_values_supported),
      );
    }
    if (answer.contentType === 'application/json' && answer.status < 300) this.#assertObject(answer);
    return new Response(answer.body.length > 0 ? new Uint8Array(answer.body) : null, {
      status: answer.status,
      headers: copiedHeaders(answer.headers),
    });
  }

  async #answerTokens(answer: DoorAnswer, context: CallContext): Promise<Response> {
    const { name: provider, quirks = {}, kind } = this.definition;
    const response = regularTokenResponse(answer, { provider, quirks, keepIdToken: kind === 'oidc' });
    if (response.status !== 200 || response.headers.get('content-type') !== 'application/json') return response;
    const body = (await response.clone().json()) as Record<string, unknown>;
    if (typeof body.access_token === 'string') {
      context.onIssued?.({
        accessToken: body.access_token,
        refreshToken: typeof body.refresh_token === 'string' ? body.refresh_token : null,
      });
    }
    // The specification lets a client skip the signature here (OIDC Core §3.1.3.7, 6); we do not.
    if (typeof body.id_token === 'string') {
      await this.keySet.verify(
        body.id_token,
        this.signatureAlgorithms(this.#loaded?.metadata.id_token_signing_alg_values_supported),
      );
    }
    return response;
  }

  #assertObject(answer: DoorAnswer): void {
    try {
      parseJsonObject(answer.body.toString('utf8'));
    } catch {
      throw new ProviderError('provider_error', {
        provider: this.definition.name,
        cause: new Error('the answer is not one JSON object with unique keys'),
      });
    }
  }

  async #downloadKeys(): Promise<string> {
    const { name: provider, timeout } = this.definition;
    const url = (await this.load()).metadata.jwks_uri;
    if (url === undefined)
      throw new ProviderError('invalid_metadata', { provider, cause: new Error('"jwks_uri" is missing') });
    const answer = await requestProvider({
      url,
      timeout,
      provider,
      headers: { accept: 'application/json, application/jwk-set+json' },
    });
    if (answer.status !== 200)
      throw new ProviderError('provider_error', {
        provider,
        cause: new Error(`the key set answered with status ${answer.status}`),
      });
    return answer.body.toString('utf8');
  }
}
