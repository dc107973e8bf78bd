// All configured providers by name.
import { Injectable } from '@nestjs/common';
import { OAuthError } from '../errors/oauth-error.js';
import { ResolvedOptions } from '../options/resolve-options.js';
import { Provider } from './provider.js';

/** The configured providers. */
@Injectable()
export class ProviderRegistry {
  readonly #providers: ReadonlyMap<string, Provider>;

  constructor(options: ResolvedOptions) {
    this.#providers = new Map(options.providers.map((definition) => [definition.name, new Provider(definition)]));
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
