// oauth_states: what is remembered between login and callback.
import { Column, Entity, Index, PrimaryColumn } from 'typeorm';

/** One pending login, used once; afterwards a short tombstone with its outcome. */
@Entity({ name: 'oauth_states' })
@Index('oauth_states_browser_hash_idx', ['browserHash', 'createdAt'])
export class State {
  /** SHA-256 of the state parameter. */
  @PrimaryColumn('bytea', { name: 'state_hash', primaryKeyConstraintName: 'oauth_states_pkey' })
  stateHash!: Buffer;

  /** SHA-256 of the browser cookie. */
  @Column('bytea', { name: 'browser_hash' })
  browserHash!: Buffer;

  @Column('text')
  provider!: string;

  /** Sealed JSON: verifier, nonce, demands. Erased at consumption. */
  @Column('text', { nullable: true })
  payload!: string | null;

  /** Sealed absolute URL. */
  @Column('text', { name: 'return_to' })
  returnTo!: string;

  /** The session that is linking another provider. */
  @Column('uuid', { name: 'session_id', nullable: true })
  sessionId!: string | null;

  @Column('timestamptz', { name: 'created_at', default: () => 'now()' })
  createdAt!: Date;

  @Index('oauth_states_expires_at_idx')
  @Column('timestamptz', { name: 'expires_at' })
  expiresAt!: Date;

  @Column('timestamptz', { name: 'consumed_at', nullable: true })
  consumedAt!: Date | null;

  /** `pending`, `done` or `failed:code`. */
  @Column('text', { default: 'pending' })
  outcome!: string;

  /** SHA-256 of the session cookie that this login replaced: requests still under way with it must not clear the new one. */
  @Column('bytea', { name: 'replaced_hash', nullable: true })
  replacedHash!: Buffer | null;
}
