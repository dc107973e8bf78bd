// Whether an access token is bound to the key that it was asked for with: by what the answer says (`token_type`), and by
// what the token itself says, where it is a JWT that names a key (RFC 9449 §5, §6.1). Nothing else in it is looked at.
import { dpopThumbprint } from './dpop.js';
import { ProviderError } from './provider-fault.js';

/** A token as issued, and the private key of the request, if it had a proof. */
export interface IssuedBinding {
  readonly provider: string;
  readonly tokenType: 'Bearer' | 'DPoP';
  readonly accessToken: string;
  readonly dpopKey: string | undefined;
}

/**
 * Refuses a plain bearer token where a bound one was asked for (a downgrade), and a token bound to a key that is not ours.
 * @throws {ProviderError} `invalid_token_response`
 */
export async function assertBinding({ provider, tokenType, accessToken, dpopKey }: IssuedBinding): Promise<void> {
  const refuse = (reason: string): never => {
    throw new ProviderError('invalid_token_response', { provider, cause: new Error(reason) });
  };
  const bound = tokenType === 'DPoP';
  if (bound && dpopKey === undefined) refuse('a DPoP-bound token was issued although none was asked for');
  if (!bound && dpopKey !== undefined) refuse('the token is not bound');
  const named = confirmedThumbprint(accessToken);
  if (named === undefined) return;
  if (dpopKey === undefined || named !== (await dpopThumbprint(dpopKey)))
    refuse('the access token says that it is bound to another key ("cnf.jkt")');
}

/** `cnf.jkt` of an access token that is a JWT; undefined for opaque ones, and for JWTs that confirm no key. */
function confirmedThumbprint(accessToken: string): unknown {
  const [, payload, signature, ...more] = accessToken.split('.');
  if (payload === undefined || signature === undefined || more.length > 0) return undefined;
  try {
    const { cnf } = JSON.parse(Buffer.from(payload, 'base64url').toString('utf8')) as { cnf?: { jkt?: unknown } };
    return cnf?.jkt;
  } catch {
    return undefined;
  }
}
