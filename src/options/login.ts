// What the application learns of a person who logs in.
import type { OAuthProviderName, OAuthTypes } from './app-types.js';

/** The profile as kept with the account. Absent facts are null, and an e-mail address counts as verified only when the provider says so. */
export interface OAuthProfile {
  readonly name: string | null;
  readonly username: string | null;
  readonly email: string | null;
  readonly emailVerified: boolean;
  /** An `https:` URL. */
  readonly picture: string | null;
}

/** The logged-in person, as `request.user` and `@CurrentUser()` give it. */
export interface OAuthUser {
  /** The application's user id: what `onLogin` returned, else the account's id. */
  readonly id: string;
  /** Name of the provider of this session. */
  readonly provider: OAuthProviderName;
  /** The provider's id for the person (`sub`). Unique only together with the issuer. */
  readonly subject: string;
  readonly profile: OAuthProfile;
}

/** What `@CurrentUser()` gives: the `user` of {@link OAuthTypes}, else {@link OAuthUser}. */
export type OAuthAppUser = OAuthTypes extends { user: infer User } ? User : OAuthUser;

/** The account that an identity already has, when it has logged in before. */
export interface KnownAccount {
  /** uuid */
  readonly id: string;
  readonly userId: string;
  readonly createdAt: Date;
}

/** A finished login, as `onLogin` gets it. It holds no token. */
export interface OAuthLogin {
  readonly provider: OAuthProviderName;
  /** The issuer, synthetic (`oauth2:name`) for providers that have none. Accounts are keyed by issuer and subject, never by e-mail. */
  readonly issuer: string;
  readonly subject: string;
  readonly profile: OAuthProfile;
  /** Claims of the ID token merged with userinfo (OIDC), else the provider's raw profile. */
  readonly claims: Readonly<Record<string, unknown>>;
  /** The granted scope. */
  readonly scope: readonly string[];
  /** The account of this identity, or null at its first login. */
  readonly account: KnownAccount | null;
  /**
   * Who was logged in on this browser when the login began to finish, or null. Never a reason to give an identity that is
   * not known yet to that user: who lures somebody into logging in with a stranger's account at the provider would own
   * theirs. Identities are added by `POST /auth/:provider/link`, which checks that this is wanted.
   */
  readonly currentUser: OAuthUser | null;
}
