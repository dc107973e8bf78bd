// Any OpenID Connect provider, found by its issuer.
import type { NamedProvider, OidcProviderOptions } from '../options/provider-options.js';

/**
 * An OpenID Connect provider. Endpoints and keys are discovered lazily from `issuer`, so that an unreachable provider
 * does not stop the application from starting. `openid` is always part of the scope.
 *
 * @example oidc({ name: 'corp', issuer: 'https://login.corp.example', clientId, clientSecret })
 * @see OpenID Connect Discovery 1.0 §4
 */
export function oidc<const Name extends string>(options: OidcProviderOptions & { name: Name }): NamedProvider<Name> {
  return { scope: ['openid', 'profile', 'email'], ...options, kind: 'oidc' };
}
