// A session as the application sees it.
import type { OAuthProviderName } from './app-types.js';
import type { OAuthUser } from './login.js';

/** The live session of a request: `@CurrentSession()`, also `request.oauthSession`. It holds no token and no cookie value. */
export interface OAuthSession<User extends OAuthUser = OAuthUser> {
  /** uuid */
  readonly id: string;
  readonly user: User;
  /** Name of the provider that this session logged in with. */
  readonly provider: OAuthProviderName;
  /** The scope granted by the user. */
  readonly scope: readonly string[];
  readonly createdAt: Date;
  /** The absolute end, however much it is used. */
  readonly expiresAt: Date;
  /** When the person last authenticated at the provider, where the provider says. */
  readonly authTime: Date | null;
  /** Authentication context class (OIDC Core §2). */
  readonly acr: string | null;
  /** Authentication methods (RFC 8176). */
  readonly amr: readonly string[] | null;
}
