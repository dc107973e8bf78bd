// One provider as seen by the protocol library: metadata and keys loaded lazily, every request through our door.
import * as client from 'openid-client';
import { ClientTls } from '../options/client-tls.js';
import type { ResolvedProvider } from '../options/resolve-provider.js';
import { clientAuthentication } from './client-authentication.js';
import { dpopHandle, DpopNonces } from './dpop.js';
import { assertFapi2 } from './fapi.js';
import { requestProvider } from './http-door.js';
import { CLOCK_TOLERANCE } from './id-token.js';
import { KeySet } from './key-set.js';
import { Lanes } from './library-lane.js';
import { answerLibrary } from './library-answers.js';
import { loadMetadata } from './metadata.js';
import { type CallContext, ProviderCall } from './provider-call.js';
import { asProviderError, ProviderError } from './provider-fault.js';

/** Discovered metadata is believed this long, then loaded again behind. Milliseconds. */
const METADATA_MAX_AGE = 3_600_000;
/** Where that fails, what is known is believed so much longer, and not every call asks again. Milliseconds. */
const RELOAD_PAUSE = 60_000;
/** What a key set may call itself. */
const KEY_SET_TYPES = new Set(['application/json', 'application/jwk-set+json']);

interface Loaded {
  metadata: client.ServerMetadata;
  lanes: Lanes<ProviderCall>;
}

/** Holds the library's configuration of one provider and answers the library's requests. */
export class ProviderConnection {
  readonly keySet: KeySet;
  /** Nonces for DPoP proofs, of the authorization server and of APIs. */
  readonly nonces = new DpopNonces();
  #loaded: Loaded | undefined;
  #loading: Promise<Loaded> | undefined;
  #reloadAt = 0;

  /**
   * @param moved told when reloaded metadata names other hosts than before
   * @param now monotonic milliseconds
   */
  constructor(
    readonly definition: ResolvedProvider,
    private readonly moved: (endpoints: readonly string[]) => void = () => undefined,
    private readonly now: () => number = () => performance.now(),
  ) {
    this.keySet = new KeySet(definition.name, () => this.#downloadKeys());
  }

  /**
   * The library's configuration, loaded at first use and again after a failure.
   * @throws {ProviderError} when the metadata cannot be had or is refused
   */
  async load(): Promise<Loaded> {
    return this.#current() ?? this.#reload();
  }

  /** Runs one operation of the library; whatever fails comes out as a ProviderError. */
  async call<T>(
    fallback: 'provider_error' | 'invalid_token_response' | 'invalid_id_token' | 'invalid_userinfo',
    context: CallContext,
    work: (call: ProviderCall) => Promise<T>,
  ): Promise<T> {
    let call: ProviderCall | undefined;
    try {
      const { metadata, lanes } = this.#current() ?? (await this.load());
      call = new ProviderCall(metadata, context, lanes);
      const result = await work(call);
      call.end();
      return result;
    } catch (error) {
      throw asProviderError(error, this.definition.name, { fallback, asked: call?.asked === true });
    }
  }

  /** The library's option that makes a request with a proof of this key; empty without one. */
  async dpop(config: client.Configuration, key: string | undefined): Promise<client.DPoPOptions> {
    return key === undefined ? {} : { DPoP: await dpopHandle(config, key, this.nonces) };
  }

  #current(): Loaded | undefined {
    if (this.#loaded && this.now() > this.#reloadAt)
      this.#reload().catch(() => (this.#reloadAt = this.now() + RELOAD_PAUSE));
    return this.#loaded;
  }

  #reload(): Promise<Loaded> {
    this.#loading ??= this.#build().finally(() => (this.#loading = undefined));
    return this.#loading;
  }

  async #build(): Promise<Loaded> {
    const { definition } = this;
    const metadata = await loadMetadata(definition);
    if (definition.security === 'fapi2') assertFapi2(metadata, definition);
    const authentication = await clientAuthentication(definition, metadata.token_endpoint_auth_methods_supported);
    const moved = this.#loaded ? movedEndpoints(this.#loaded.metadata, metadata) : [];
    const lanes = new Lanes<ProviderCall>(
      () => this.#configured(metadata, authentication),
      (url, options, call) => answerLibrary({ url, options, call }, this),
    );
    this.#loaded = { metadata, lanes };
    this.#reloadAt = this.now() + METADATA_MAX_AGE;
    if (moved.length > 0) this.moved(moved);
    return this.#loaded;
  }

  #configured(metadata: client.ServerMetadata, authentication: client.ClientAuth): client.Configuration {
    const { definition } = this;
    const config = new client.Configuration(
      metadata,
      definition.clientId,
      {
        [client.clockTolerance]: CLOCK_TOLERANCE,
        ...(definition.idTokenSignedResponseAlg
          ? { id_token_signed_response_alg: definition.idTokenSignedResponseAlg }
          : {}),
        // Also where the certificate only binds tokens (RFC 8705 §5). What a dispatcher shows is known to nobody here.
        ...(definition.clientAuthentication?.endsWith('tls_client_auth') || showsCertificate(definition)
          ? { use_mtls_endpoint_aliases: true }
          : {}),
      },
      authentication,
    );
    config.timeout = 0;
    // The door itself refuses plain http anywhere but on loopback.
    client.allowInsecureRequests(config);
    return config;
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
      dispatcher: this.definition.dispatcher,
      headers: { accept: 'application/json, application/jwk-set+json' },
    });
    if (answer.status !== 200)
      throw new ProviderError('provider_error', {
        provider,
        cause: new Error(`the key set answered with status ${answer.status}`),
      });
    // RFC 7517 §8.5. A page of somebody in between is no key set, whatever is in it.
    if (!KEY_SET_TYPES.has(answer.contentType))
      throw new ProviderError('provider_error', {
        provider,
        cause: new Error('the key set is not declared as JSON'),
      });
    return answer.body.toString('utf8');
  }
}

function showsCertificate({ dispatcher }: ResolvedProvider): boolean {
  return dispatcher instanceof ClientTls && dispatcher.cert !== undefined;
}

/** Endpoints that are on another host than before: perhaps a move, perhaps somebody's doing. */
function movedEndpoints(before: client.ServerMetadata, after: client.ServerMetadata): string[] {
  // Endpoints that we never ask are not checked, and may be anything.
  const host = (value: unknown) => (typeof value === 'string' && URL.canParse(value) ? new URL(value).host : undefined);
  return Object.keys(after).filter(
    (name) =>
      /_endpoint$|^jwks_uri$/.test(name) &&
      host(before[name]) !== undefined &&
      host(after[name]) !== host(before[name]),
  );
}
