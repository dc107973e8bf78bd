// Who logged in: (issuer, subject) and the profile, from ID token, userinfo or the provider's API.
import type { OAuthProfile } from '../options/login.js';
import type { ProviderProfile } from '../options/provider-options.js';
import { ProviderError } from './provider-fault.js';
import { CLOCK_TOLERANCE } from './id-token.js';

/** The identity that a provider vouches for, with what is known about this authentication. */
export interface Identity {
  readonly issuer: string;
  readonly subject: string;
  readonly profile: OAuthProfile;
  readonly claims: Readonly<Record<string, unknown>>;
  /** The provider's session (`sid`), for logout from there. */
  readonly sid: string | null;
  /** When the person last authenticated at the provider. */
  readonly authTime: Date | null;
  readonly acr: string | null;
  readonly amr: readonly string[] | null;
  /** `exp` of the ID token, or the earlier `session_expiry` that the provider asserts. */
  readonly idTokenExpiresAt: Date | null;
  /** `session_expiry` as asserted by the provider: a ceiling for our session. */
  readonly sessionExpiry: Date | null;
}

/**
 * Most of a `sid`, bytes of UTF-8 (a conforming one is ASCII). It is indexed, also beside the issuer, and a row of a B-tree
 * takes 2,704 bytes.
 */
const MAX_SID = 2_048;

/**
 * True for a subject in its only accepted shape: 1 to 255 characters, no control characters.
 * @see OIDC Core §2 (`sub`)
 */
export function isSubject(value: unknown): value is string {
  return (
    typeof value === 'string' &&
    value.length >= 1 &&
    value.length <= 255 &&
    // A lone surrogate would be stored as U+FFFD: two subjects could become one.
    !/[\u0000-\u001f\u007f\ud800-\udfff]/u.test(value)
  );
}

/** Claims of a JWT that is not judged here: it was before, or nothing is believed by it. Null for one that only its audience can read. */
export function unjudgedClaims(jwt: string): Readonly<Record<string, unknown>> | null {
  const parts = jwt.split('.');
  if (parts.length !== 3) return null;
  try {
    return JSON.parse(Buffer.from(parts[1]!, 'base64url').toString('utf8')) as Record<string, unknown> | null;
  } catch {
    return null;
  }
}

/** Whom an ID token says that it is about, be it true or not: reason enough to spare a grant, and for nothing else. */
export function claimedSubject(jwt: string): string | null {
  const sub = unjudgedClaims(jwt)?.sub;
  return isSubject(sub) ? sub : null;
}

/**
 * True for a `sid` that sessions are kept with. Logins and both kinds of logout from the provider ask here, so that there
 * is none that is kept and can never be logged out.
 * @see OIDC Back-Channel Logout §2.1
 */
export function isSid(value: unknown): value is string {
  return typeof value === 'string' && claimText(value) !== null && Buffer.byteLength(value) <= MAX_SID;
}

/**
 * The subject as {@link isSubject} has it; numbers of plain OAuth APIs become text.
 * @throws {ProviderError} `invalid_userinfo`
 * @see OIDC Core §2 (`sub`)
 */
export function checkedSubject(value: unknown, provider: string): string {
  const subject = typeof value === 'number' && Number.isSafeInteger(value) ? String(value) : value;
  if (isSubject(subject)) return subject;
  throw new ProviderError('invalid_userinfo', {
    provider,
    cause: new Error('the subject is not a text of 1 to 255 characters'),
  });
}

/** The profile from standard claims (OIDC Core §5.1) or from what a `profile` function returned. Wrong types become null. */
export function mapProfile(claims: ProviderProfile): OAuthProfile {
  return {
    name: text(claims.name),
    username: text(claims.username) ?? text(claims.preferred_username),
    email: text(claims.email),
    // Verified only when the provider says exactly so: a missing claim means nothing.
    emailVerified: text(claims.email) !== null && (claims.emailVerified === true || claims.email_verified === true),
    picture: httpsUrl(claims.picture),
  };
}

/** Seconds since the epoch as a date; null for anything that is none. */
export function claimDate(value: unknown): Date | null {
  return typeof value === 'number' && value > 0 && value < 8.64e12 ? new Date(value * 1000) : null;
}

/**
 * `auth_time` as a date; null as well for one in the future (milliseconds, say): it would count as fresh for ever.
 * @param now seconds since the epoch
 */
export function authTimeOf(value: unknown, now = Date.now() / 1000): Date | null {
  return typeof value === 'number' && value > now + CLOCK_TOLERANCE ? null : claimDate(value);
}

/** A text claim of bearable length, else null. */
export function claimText(value: unknown): string | null {
  return text(value);
}

function text(value: unknown): string | null {
  // Postgres stores neither NUL nor lone surrogates; nobody's name holds one.
  return typeof value === 'string' && value.length <= 2048 && /^[^\0\ud800-\udfff]+$/u.test(value) ? value : null;
}

function httpsUrl(value: unknown): string | null {
  const url = text(value);
  return url !== null && URL.canParse(url) && new URL(url).protocol === 'https:' ? url : null;
}
