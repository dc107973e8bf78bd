// What a token endpoint issued, after validation. Shows nothing when printed.
import { Redacted } from '../crypto/redacted.js';

/** Members of a {@link TokenSet}. */
export interface TokenSetFields {
  readonly accessToken: string;
  /** Canonical spelling of `token_type`. */
  readonly tokenType: 'Bearer' | 'DPoP';
  /** Seconds from now; null when the provider does not say. */
  readonly expiresIn: number | null;
  readonly refreshToken: string | null;
  readonly idToken: string | null;
  /** The granted scope; as requested where the answer names none (RFC 6749 §5.1). */
  readonly scope: readonly string[];
  /** Seconds until the refresh token expires, where the provider says (`refresh_expires_in`, `refresh_token_expires_in`). */
  readonly refreshExpiresIn: number | null;
}

/** Tokens as issued. */
export class TokenSet extends Redacted implements TokenSetFields {
  readonly accessToken: string;
  readonly tokenType: 'Bearer' | 'DPoP';
  readonly expiresIn: number | null;
  readonly refreshToken: string | null;
  readonly idToken: string | null;
  readonly scope: readonly string[];
  readonly refreshExpiresIn: number | null;

  constructor(fields: TokenSetFields) {
    super();
    this.accessToken = fields.accessToken;
    this.tokenType = fields.tokenType;
    this.expiresIn = fields.expiresIn;
    this.refreshToken = fields.refreshToken;
    this.idToken = fields.idToken;
    this.scope = fields.scope;
    this.refreshExpiresIn = fields.refreshExpiresIn;
  }
}
