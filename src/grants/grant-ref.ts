// Ways to name a grant, and what may be asked of it.
import type { OAuthProviderName } from '../options/app-types.js';
import type { OAuthSession } from '../options/session.js';

/** The grant of a user at a provider, for work without a request. */
export interface UserGrant {
  readonly userId: string;
  /** Name of the provider. */
  readonly provider: OAuthProviderName;
}

/** A session, a grant's id (uuid), or a user at a provider. */
export type GrantRef = OAuthSession | string | UserGrant;

/** What kind of access token is wanted. */
export interface AccessTokenRequest {
  /** Resource indicator of the API (RFC 8707 §2). */
  resource?: string;
  /** Narrower scope than granted (RFC 6749 §6). */
  scope?: readonly string[];
  /** The token must be valid for this long at least, seconds; never more than half its stated life. @defaultValue 60 */
  minTtl?: number;
  /** Refresh even if the token seems valid. The floor between refreshes still holds. @defaultValue false */
  forceRefresh?: boolean;
}

/** What is to be refreshed. */
export interface RefreshWish extends Pick<AccessTokenRequest, 'resource' | 'scope'> {
  readonly audience: string;
  /** Stamp of the access token that is no longer wanted; any other stored one will do. */
  readonly unwanted: string | null;
}

/** Names the access tokens of one grant apart: those for other resources or scopes are never handed out. Empty for the grant's own. */
export function audienceKey({ resource, scope }: Pick<AccessTokenRequest, 'resource' | 'scope'>): string {
  if (resource === undefined && scope === undefined) return '';
  // A text would be taken apart into its letters.
  if (scope !== undefined && !Array.isArray(scope)) throw new TypeError('scope must be a list of texts');
  return JSON.stringify([resource ?? null, scope === undefined ? null : [...new Set(scope)].sort()]);
}

/** True for a session, as opposed to a {@link UserGrant}. */
export function isSession(ref: OAuthSession | UserGrant): ref is OAuthSession {
  return 'id' in ref && 'user' in ref;
}
