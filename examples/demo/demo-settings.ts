// What differs from one start of the demo to the next: addresses, keys, and the providers whose client ids are set.
import { github, google, oidc, type ProviderDefinition } from 'nest-oauth-client';

/** Where a logout ends: the front page, which then says so. To be registered at Demo Identity, with `baseUrl` before it. */
export const LOGGED_OUT = '/?logged-out';

/** Settings of the demo. A class, so that Nest can inject it. */
export class DemoSettings {
  /** Where the browser finds the demo. */
  readonly baseUrl: string;
  /** Connection URL of Postgres. */
  readonly databaseUrl: string;
  /** 32 bytes, base64url. */
  readonly encryptionKey: string;
  /** Issuer of Demo Identity. */
  readonly issuer: string;
  readonly clientId: string;
  readonly clientSecret: string;
  /** Client ids and secrets of other providers. */
  readonly environment: Readonly<Record<string, string | undefined>>;

  constructor(settings: DemoSettings) {
    this.baseUrl = settings.baseUrl;
    this.databaseUrl = settings.databaseUrl;
    this.encryptionKey = settings.encryptionKey;
    this.issuer = settings.issuer;
    this.clientId = settings.clientId;
    this.clientSecret = settings.clientSecret;
    this.environment = settings.environment;
  }
}

/** One provider of the demo, and what to ask of its API. */
export interface DemoProvider {
  readonly definition: ProviderDefinition;
  /** An address of the provider's API that answers JSON about the user. */
  readonly apiUrl: string;
}

/** Demo Identity always; GitHub and Google where their client ids are in the environment. */
export function demoProviders({ issuer, clientId, clientSecret, environment }: DemoSettings): DemoProvider[] {
  const { GITHUB_CLIENT_ID, GITHUB_CLIENT_SECRET, GOOGLE_CLIENT_ID, GOOGLE_CLIENT_SECRET } = environment;
  const providers: DemoProvider[] = [
    {
      definition: oidc({
        name: 'demo',
        displayName: 'Demo Identity',
        issuer,
        clientId,
        clientSecret,
        apiOrigins: [new URL(issuer).origin],
      }),
      apiUrl: `${issuer}/api/profile`,
    },
  ];
  if (GITHUB_CLIENT_ID && GITHUB_CLIENT_SECRET) {
    providers.push({
      definition: github({ clientId: GITHUB_CLIENT_ID, clientSecret: GITHUB_CLIENT_SECRET }),
      apiUrl: 'https://api.github.com/user',
    });
  }
  if (GOOGLE_CLIENT_ID && GOOGLE_CLIENT_SECRET) {
    providers.push({
      definition: google({ clientId: GOOGLE_CLIENT_ID, clientSecret: GOOGLE_CLIENT_SECRET }),
      apiUrl: 'https://openidconnect.googleapis.com/v1/userinfo',
    });
  }
  return providers;
}
