// What makes a JWT a logout token (OIDC Back-Channel Logout §2.4, §2.6). Its signature is checked elsewhere, before.
import { OAuthError } from '../errors/oauth-error.js';
import { CLOCK_TOLERANCE } from '../providers/id-token.js';
import { isSid, isSubject } from '../providers/identity.js';

/** The member of `events` that makes a token one. */
const LOGOUT_EVENT = 'http://schemas.openid.net/event/backchannel-logout';
/** A logout token issued longer ago is refused: replays are remembered for longer than this. Seconds. */
export const MAX_LOGOUT_TOKEN_AGE = 3_600;
/** Greatest age of a token without `exp`, where the configuration waives it. Seconds. */
const MAX_AGE_WITHOUT_EXP = 120;
const MAX_JTI = 255;

/** A valid logout token: whom it logs out. */
export interface LogoutClaims {
  readonly jti: string;
  /** The provider's session; null when all of the subject's are meant. */
  readonly sid: string | null;
  readonly sub: string | null;
}

/** What is expected of a logout token. */
export interface LogoutExpectations {
  readonly issuer: string;
  readonly clientId: string;
  /** `exp` may be missing; the token must then be at most two minutes old. */
  readonly expOptional: boolean;
  /** Seconds since the epoch. */
  readonly now?: number;
}

/**
 * Judges header and claims of a logout token whose signature holds.
 * @throws {OAuthError} `invalid_request`
 */
export function logoutClaims(
  header: Readonly<Record<string, unknown>>,
  claims: Readonly<Record<string, unknown>>,
  expected: LogoutExpectations,
): LogoutClaims {
  const { iss, aud, jti, events, nonce, sub, sid } = claims;
  must(isLogoutType(header.typ), '"typ" is that of another kind of token');
  must(iss === expected.issuer, '"iss" is another issuer');
  must(
    aud === expected.clientId || (Array.isArray(aud) && aud.length === 1 && aud[0] === expected.clientId),
    '"aud" is not this client',
  );
  mustBeFresh(claims, expected);
  must(typeof jti === 'string' && jti !== '' && jti.length <= MAX_JTI, '"jti" is missing');
  must(isObject(events) && isObject(events[LOGOUT_EVENT]), '"events" is not that of a logout');
  must(nonce === undefined, 'a logout token has no "nonce"');
  must(sub === undefined || isSubject(sub), '"sub" is malformed');
  must(sid === undefined || isSid(sid), '"sid" is malformed');
  must(sub !== undefined || sid !== undefined, 'neither "sub" nor "sid" is there');
  return { jti: jti as string, sid: (sid as string | undefined) ?? null, sub: (sub as string | undefined) ?? null };
}

function mustBeFresh({ iat, exp }: Readonly<Record<string, unknown>>, expected: LogoutExpectations): void {
  const now = expected.now ?? Date.now() / 1000;
  must(typeof iat === 'number' && iat <= now + CLOCK_TOLERANCE, '"iat" is missing or in the future');
  if (exp === undefined && expected.expOptional) {
    must((iat as number) >= now - MAX_AGE_WITHOUT_EXP, '"iat" is more than two minutes past and there is no "exp"');
    return;
  }
  must(typeof exp === 'number' && exp > now - CLOCK_TOLERANCE, '"exp" is missing or past');
  must((iat as number) >= now - MAX_LOGOUT_TOKEN_AGE, '"iat" is long past');
}

/** §2.4 recommends `logout+jwt`; older providers say `JWT` or nothing. */
function isLogoutType(typ: unknown): boolean {
  if (typ === undefined) return true;
  return typeof typ === 'string' && /^(?:application\/)?(?:logout\+jwt|jwt)$/i.test(typ);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function must(holds: boolean, reason: string): void {
  if (!holds) throw new OAuthError('invalid_request', { cause: new Error(`logout token: ${reason}`) });
}
