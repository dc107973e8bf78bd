// The application's own types: its user, and the names of its providers. Said once, by interface merging, and known wherever
// this package gives or takes one of them.

/**
 * Merge into it what the application knows better.
 *
 * @example
 * declare module 'nest-oauth-client' {
 *   interface OAuthTypes {
 *     user: User;                        // what `loadUser` returns and `@CurrentUser()` gives
 *     providers: typeof providers;       // the list given to `forRoot`, or names: 'github' | 'corp'
 *   }
 * }
 */
export interface OAuthTypes {}

/** The names of the configured providers: those of {@link OAuthTypes}, else any text. */
export type OAuthProviderName = OAuthTypes extends { providers: infer Providers } ? NamesOf<Providers> : string;

/** The names in a list of provider definitions, in one definition, or a union of names as it is. */
type NamesOf<Providers> = Providers extends readonly (infer One)[]
  ? NamesOf<One>
  : Providers extends { readonly name: infer Name extends string }
    ? Name
    : Providers extends string
      ? Providers
      : never;
