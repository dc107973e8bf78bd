// GitHub: token errors come with status 200, scope is separated by commas, and the tokens of
// OAuth Apps name no lifetime.
import type {
  CommonProviderOptions,
  NamedProvider,
  ProfileContext,
  ProviderProfile,
} from '../options/provider-options.js';

/** Options of {@link github}. */
export interface GitHubOptions extends Partial<CommonProviderOptions> {
  clientId: string;
  clientSecret: string;
  /** Web address, for GitHub Enterprise Server. @defaultValue https://github.com */
  webUrl?: string;
  /** API address, for GitHub Enterprise Server (`https://ghe.example.com/api/v3`). @defaultValue https://api.github.com */
  apiUrl?: string;
}

/** What GitHub calls errors, and RFC 6749 §5.2 calls them. Its answers to them have status 200. */
const ERROR_NAMES: ReadonlyMap<string, string> = new Map([
  ['bad_verification_code', 'invalid_grant'],
  ['bad_refresh_token', 'invalid_grant'],
  ['redirect_uri_mismatch', 'invalid_grant'],
  ['incorrect_client_credentials', 'invalid_client'],
  ['application_suspended', 'unauthorized_client'],
]);

/**
 * GitHub (OAuth Apps and the user tokens of GitHub Apps). The profile has the primary e-mail address if it is verified,
 * which needs the scope `user:email`.
 * @see https://docs.github.com/en/apps/oauth-apps/building-oauth-apps/authorizing-oauth-apps
 */
export function github<const Name extends string = 'github'>({
  webUrl = 'https://github.com',
  apiUrl = 'https://api.github.com',
  ...options
}: GitHubOptions & { name?: Name }): NamedProvider<Name> {
  const userinfoEndpoint = options.userinfoEndpoint ?? `${apiUrl}/user`;
  return {
    name: 'github' as Name,
    displayName: 'GitHub',
    scope: ['read:user', 'user:email'],
    authorizationEndpoint: `${webUrl}/login/oauth/authorize`,
    tokenEndpoint: `${webUrl}/login/oauth/access_token`,
    revocationEndpoint: `${apiUrl}/applications/${encodeURIComponent(options.clientId)}/token`,
    apiOrigins: URL.canParse(userinfoEndpoint) ? [new URL(userinfoEndpoint).origin] : [],
    // One token is deleted, others of the same user live on.
    revocation: 'token',
    ...options,
    userinfoEndpoint,
    kind: 'oauth2',
    quirks: { errorNames: ERROR_NAMES, scopeSeparator: ',', formEncodedTokens: true, revoke: 'github' },
    profile: (context) => githubProfile(context, userinfoEndpoint),
  };
}

async function githubProfile({ json, scope }: ProfileContext, userEndpoint: string): Promise<ProviderProfile> {
  const user = (await json(userEndpoint)) as { id?: number; login?: string; name?: string | null; avatar_url?: string };
  const mayReadEmails = scope.includes('user:email') || scope.includes('user');
  const emails = mayReadEmails ? await json(`${userEndpoint}/emails`) : [];
  const primary = (
    Array.isArray(emails) ? (emails as { email?: string; primary?: boolean; verified?: boolean }[]) : []
  ).find((item) => item.primary && item.verified);
  return {
    ...(user.id === undefined ? {} : { subject: user.id }),
    name: user.name ?? user.login ?? null,
    username: user.login ?? null,
    email: primary?.email ?? null,
    emailVerified: primary !== undefined,
    picture: user.avatar_url ?? null,
    raw: user,
  };
}
