// Google: refresh tokens come only with access_type=offline, reliably only with prompt=consent, and never rotate.
import type { NamedProvider, OidcProviderOptions } from '../options/provider-options.js';

/** Options of {@link google}. */
export interface GoogleOptions extends Partial<OidcProviderOptions> {
  clientId: string;
  clientSecret: string;
  /** Ask for a refresh token, at the price of the consent page at each login. @defaultValue true */
  offline?: boolean;
}

/**
 * Google as an OpenID Connect provider.
 * @see https://developers.google.com/identity/openid-connect/openid-connect
 */
export function google<const Name extends string = 'google'>({
  offline = true,
  authorizationParams,
  ...options
}: GoogleOptions & { name?: Name }): NamedProvider<Name> {
  return {
    name: 'google' as Name,
    displayName: 'Google',
    issuer: 'https://accounts.google.com',
    scope: ['openid', 'profile', 'email'],
    apiOrigins: ['https://www.googleapis.com', 'https://openidconnect.googleapis.com', 'https://people.googleapis.com'],
    staticRefreshToken: true,
    ...(offline ? { prompt: 'consent' } : {}),
    ...options,
    authorizationParams: { ...(offline ? { access_type: 'offline' } : {}), ...authorizationParams },
    kind: 'oidc',
  };
}
