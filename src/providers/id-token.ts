// What the protocol library leaves to the client in an ID token: freshness of iat, sole audience, acr as demanded.
import { ProviderError } from './provider-fault.js';

/** Tolerated difference between the provider's clock and ours, seconds. */
export const CLOCK_TOLERANCE = 60;
/** An ID token issued longer ago than this did not come from this login, seconds. */
const MAX_TOKEN_AGE = 600;

/** What was asked for and must therefore hold. */
export interface IdTokenDemands {
  readonly provider: string;
  readonly clientId: string;
  /** Accepted `acr` values; empty accepts any. */
  readonly acrValues: readonly string[];
  /** Seconds since the epoch. */
  readonly now?: number;
}

/**
 * Judges claims that are already validated for signature, issuer, nonce and expiry.
 * @throws {ProviderError} `invalid_id_token`, or `insufficient_authentication` for a weaker `acr`
 * @see OIDC Core §3.1.3.7 (3, 4, 5, 10, 12)
 */
export function assertIdTokenClaims(claims: Readonly<Record<string, unknown>>, demands: IdTokenDemands): void {
  const now = demands.now ?? Date.now() / 1000;
  const refuse = (reason: string): never => {
    throw new ProviderError('invalid_id_token', {
      provider: demands.provider,
      cause: new Error(`ID token: ${reason}`),
    });
  };
  const { aud, azp, iat, exp, acr } = claims;
  if (aud !== demands.clientId && !(Array.isArray(aud) && aud.length === 1 && aud[0] === demands.clientId))
    refuse('"aud" names others besides this client');
  if (azp !== undefined && azp !== demands.clientId) refuse('"azp" is another client');
  if (typeof iat !== 'number' || iat > now + CLOCK_TOLERANCE) refuse('"iat" is in the future');
  if ((iat as number) < now - MAX_TOKEN_AGE) refuse('"iat" is long past');
  if (typeof exp !== 'number' || !Number.isFinite(exp) || exp > 8.64e12) refuse('"exp" is no usable date');
  if (demands.acrValues.length > 0 && !(typeof acr === 'string' && demands.acrValues.includes(acr))) {
    throw new ProviderError('insufficient_authentication', {
      provider: demands.provider,
      cause: new Error('"acr" is none of those demanded'),
    });
  }
}
