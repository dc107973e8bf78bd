// What a provider says of itself (OIDC Discovery, RFC 8414), fetched lazily and checked before anything is sent to it.
import type * as client from 'openid-client';
import type { ResolvedProvider } from '../options/resolve-provider.js';
import { isLoopback, isPrivateAddress, urlFault } from '../options/urls.js';
import { requestProvider } from './http-door.js';
import { ProviderError } from './provider-fault.js';
import { parseJsonObject } from './strict-json.js';

const ENDPOINTS = [
  'authorization_endpoint', 'token_endpoint', 'userinfo_endpoint', 'revocation_endpoint', 'end_session_endpoint', 'jwks_uri',
  'pushed_authorization_request_endpoint', 'introspection_endpoint',
] as const; // prettier-ignore

/** The provider's metadata with configured endpoints laid over it. */
export async function loadMetadata(definition: ResolvedProvider): Promise<client.ServerMetadata> {
  const found: client.ServerMetadata =
    definition.kind === 'oidc' ? await discover(definition) : { issuer: definition.issuer };
  const metadata = { ...found, ...configured(definition) };
  for (const endpoint of ENDPOINTS) {
    const value = metadata[endpoint];
    if (value !== undefined) assertEndpoint(endpoint, value, definition);
  }
  const aliases = metadata.mtls_endpoint_aliases;
  if (aliases !== undefined)
    for (const [name, value] of Object.entries(aliases))
      assertEndpoint(`mtls_endpoint_aliases.${name}`, value, definition);
  for (const endpoint of [
    'authorization_endpoint',
    'token_endpoint',
    ...(definition.kind === 'oidc' ? (['jwks_uri'] as const) : []),
  ] as const) {
    if (metadata[endpoint] === undefined) throw invalid(definition, `"${endpoint}" is missing`);
  }
  return metadata;
}

/** Endpoints as configured, which win over discovered ones. */
function configured(definition: ResolvedProvider): Partial<client.ServerMetadata> {
  const { authorizationEndpoint, tokenEndpoint, userinfoEndpoint, revocationEndpoint, endSessionEndpoint, jwksUri } =
    definition;
  const { pushedAuthorizationRequestEndpoint } = definition;
  const endpoints = {
    authorization_endpoint: authorizationEndpoint,
    token_endpoint: tokenEndpoint,
    userinfo_endpoint: userinfoEndpoint,
    revocation_endpoint: revocationEndpoint,
    end_session_endpoint: endSessionEndpoint,
    pushed_authorization_request_endpoint: pushedAuthorizationRequestEndpoint,
    jwks_uri: jwksUri,
  };
  return Object.fromEntries(Object.entries(endpoints).filter(([, value]) => value !== undefined));
}

/** `/.well-known/openid-configuration` below the issuer (OIDC Discovery §4), with the issuer compared to the letter. */
async function discover(definition: ResolvedProvider): Promise<client.ServerMetadata> {
  const { name: provider, issuer, timeout, dispatcher } = definition;
  const url = `${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`;
  const answer = await requestProvider({
    url,
    timeout,
    provider,
    dispatcher,
    headers: { accept: 'application/json' },
  });
  if (answer.status !== 200) throw invalid(definition, `discovery answered with status ${answer.status}`);
  if (answer.contentType !== 'application/json')
    throw invalid(definition, 'discovery did not answer with application/json');
  let metadata: Record<string, unknown>;
  try {
    metadata = parseJsonObject(answer.body.toString('utf8'));
  } catch {
    throw invalid(definition, 'discovery did not answer with one JSON object');
  }
  if (metadata.issuer !== issuer) {
    throw invalid(
      definition,
      'the metadata names another issuer than the configured one; they must be equal to the letter',
    );
  }
  return metadata as unknown as client.ServerMetadata;
}

/** A public issuer must not send us into a private network, nor anywhere without TLS. */
function assertEndpoint(name: string, value: unknown, definition: ResolvedProvider): void {
  const fault = urlFault(value);
  if (fault) throw invalid(definition, `"${name}" is not ${fault}`);
  const { hostname } = new URL(value as string);
  const home = definition.syntheticIssuer ? definition.tokenEndpoint! : definition.issuer;
  const homeHost = new URL(home).hostname;
  if (isPrivateAddress(hostname) && !isPrivateAddress(homeHost) && !isLoopback(homeHost)) {
    throw invalid(definition, `"${name}" is a private address while the issuer is public`);
  }
}

function invalid(definition: ResolvedProvider, reason: string): ProviderError {
  return new ProviderError('invalid_metadata', {
    provider: definition.name,
    cause: new Error(`metadata of ${definition.issuer}: ${reason}`),
  });
}
