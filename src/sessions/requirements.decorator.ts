// What a handler demands of a session besides being alive. Only this metadata and the session's row are judged.
import { type CustomDecorator, SetMetadata } from '@nestjs/common';

/** Metadata key of {@link RequireScopes}. */
export const REQUIRED_SCOPES = Symbol('nest-oauth-client:scopes');
/** Metadata key of {@link RequireFreshAuth}. */
export const REQUIRED_FRESHNESS = Symbol('nest-oauth-client:fresh');
/** Metadata key of {@link RequireAcr}. */
export const REQUIRED_ACR = Symbol('nest-oauth-client:acr');

/** Demands that the user granted all of these scopes. Otherwise 403 `insufficient_scope`. */
export function RequireScopes(...scopes: [string, ...string[]]): CustomDecorator<symbol> {
  return SetMetadata(REQUIRED_SCOPES, scopes);
}

/**
 * Demands that the person authenticated at the provider at most `maxAge` seconds ago, 300 unless said, as the provider
 * asserts by `auth_time`. Navigations are sent to authenticate again and come back; scripts get 401 (RFC 9470).
 */
export function RequireFreshAuth({ maxAge = 300 }: { maxAge?: number } = {}): CustomDecorator<symbol> {
  if (!(Number.isFinite(maxAge) && maxAge > 0)) throw new TypeError('RequireFreshAuth: maxAge must be seconds above 0');
  return SetMetadata(REQUIRED_FRESHNESS, Math.floor(maxAge) || 1);
}

/** Demands one of these authentication context classes (`acr`). Like {@link RequireFreshAuth} in all else. */
export function RequireAcr(...values: [string, ...string[]]): CustomDecorator<symbol> {
  return SetMetadata(REQUIRED_ACR, values);
}
