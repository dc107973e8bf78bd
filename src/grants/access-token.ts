// An access token for the application: usable, and invisible when printed.
import { Redacted } from '../crypto/redacted.js';

/** A fresh access token. `toString`, `toJSON` and inspection show no value. */
export class AccessToken extends Redacted {
  /** The token itself, for an `Authorization` header. */
  readonly value!: string;
  /** Scheme of the `Authorization` header. */
  readonly type: 'Bearer' | 'DPoP';
  /** When it expires; null where the provider does not say. */
  readonly expiresAt: Date | null;
  /** What it may do. */
  readonly scope: string[];

  constructor(fields: { value: string; type: 'Bearer' | 'DPoP'; expiresAt: Date | null; scope: readonly string[] }) {
    super();
    // Not enumerable: spreading or cloning a token object must not spill it.
    Object.defineProperty(this, 'value', { value: fields.value, enumerable: false });
    this.type = fields.type;
    this.expiresAt = fields.expiresAt;
    this.scope = [...fields.scope];
  }
}
