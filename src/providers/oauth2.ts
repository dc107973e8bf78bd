// Any plain OAuth 2.0 provider, by its endpoints.
import type { NamedProvider, OAuth2ProviderOptions } from '../options/provider-options.js';

/**
 * A plain OAuth 2.0 provider. There is no ID token, so `profile` says who logged in by asking the provider's API.
 *
 * @example
 * oauth2({
 *   name: 'acme', authorizationEndpoint, tokenEndpoint, clientId, clientSecret,
 *   apiOrigins: ['https://api.acme.example'],
 *   profile: async ({ json }) => {
 *     const me = await json('https://api.acme.example/me') as { id: string; name: string };
 *     return { subject: me.id, name: me.name };
 *   },
 * })
 */
export function oauth2<const Name extends string>(
  options: OAuth2ProviderOptions & { name: Name },
): NamedProvider<Name> {
  return { ...options, kind: 'oauth2' };
}
