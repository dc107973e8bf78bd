// oauth_sessions: one logged-in browser each.
import { Column, Entity, ForeignKey, Index, PrimaryColumn, Unique } from 'typeorm';
import { Account } from '../accounts/account.entity.js';
import { Grant } from '../grants/grant.entity.js';

/** A session; the cookie's value is stored only as its SHA-256. */
@Entity({ name: 'oauth_sessions' })
@Unique('oauth_sessions_token_hash_key', ['tokenHash'])
export class Session {
  @PrimaryColumn('uuid', { primaryKeyConstraintName: 'oauth_sessions_pkey' })
  id!: string;

  @Column('bytea', { name: 'token_hash' })
  tokenHash!: Buffer;

  @Index('oauth_sessions_user_id_idx')
  @Column('text', { name: 'user_id' })
  userId!: string;

  @Index('oauth_sessions_account_id_idx')
  @ForeignKey(() => Account, { name: 'oauth_sessions_account_id_fkey', onDelete: 'CASCADE' })
  @Column('uuid', { name: 'account_id' })
  accountId!: string;

  @Index('oauth_sessions_grant_id_idx')
  @ForeignKey(() => Grant, { name: 'oauth_sessions_grant_id_fkey', onDelete: 'SET NULL' })
  @Column('uuid', { name: 'grant_id', nullable: true })
  grantId!: string | null;

  @Column('text')
  provider!: string;

  /** The provider's session id. */
  @Index('oauth_sessions_sid_idx', { where: 'octet_length(sid) <= 2048' })
  @Column('text', { nullable: true })
  sid!: string | null;

  @Column('timestamptz', { name: 'auth_time', nullable: true })
  authTime!: Date | null;

  @Column('text', { nullable: true })
  acr!: string | null;

  @Column('text', { array: true, nullable: true })
  amr!: string[] | null;

  @Column('timestamptz', { name: 'created_at', default: () => 'now()' })
  createdAt!: Date;

  @Column('timestamptz', { name: 'last_seen_at', default: () => 'now()' })
  lastSeenAt!: Date;

  @Index('oauth_sessions_idle_expires_at_idx')
  @Column('timestamptz', { name: 'idle_expires_at' })
  idleExpiresAt!: Date;

  /** Absolute end. */
  @Index('oauth_sessions_expires_at_idx')
  @Column('timestamptz', { name: 'expires_at' })
  expiresAt!: Date;

  @Column('text', { nullable: true })
  ip!: string | null;

  @Column('text', { name: 'user_agent', nullable: true })
  userAgent!: string | null;

  /** Sealed, for `id_token_hint`. */
  @Column('text', { name: 'id_token', nullable: true })
  idToken!: string | null;
}
