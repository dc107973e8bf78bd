// All configured providers by name.
import { Injectable } from '@nestjs/common';
import { OAuthError } from '../errors/oauth-error.js';
import { OAuthEvents } from '../events/oauth-events.service.js';
import { uncheckedCertificates } from '../options/certificate-checks.js';
import { ResolvedOptions } from '../options/resolve-options.js';
import { Provider } from './provider.js';

/** The configured providers. */
@Injectable()
export class ProviderRegistry {
  readonly #providers: ReadonlyMap<string, Provider>;

  constructor(options: ResolvedOptions, events: OAuthEvents) {
    const unchecked = uncheckedCertificates();
    if (unchecked !== undefined) events.emit('alarm', { code: 'certificates_unchecked', message: unchecked });
    const moved = (provider: string) => (endpoints: readonly string[]) =>
      events.emit('alarm', {
        code: 'provider_moved',
        provider,
        message: `the metadata of "${provider}" now names another host for ${endpoints.join(', ')}; pin the endpoint in the options if that was not announced`,
      });
    this.#providers = new Map(
      options.providers.map((definition) => [definition.name, new Provider(definition, moved(definition.name))]),
    );
  }

  /**
   * The provider of that name.
   * @throws {OAuthError} `unknown_provider`
   */
  get(name: string): Provider {
    const provider = this.#providers.get(name);
    if (!provider) throw new OAuthError('unknown_provider');
    return provider;
  }

  /** True when there is a provider of that name. */
  has(name: string): boolean {
    return this.#providers.has(name);
  }

  /** All providers in the order of the options. */
  list(): readonly Provider[] {
    return [...this.#providers.values()];
  }
}
