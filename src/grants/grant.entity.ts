// oauth_grants: what the user allowed us at a provider.
import { Check, Column, Entity, ForeignKey, Index, PrimaryColumn } from 'typeorm';
import { Account } from '../accounts/account.entity.js';

/** State of a grant. */
export type GrantStatus = 'active' | 'reauth_required' | 'revoked';

/** A grant: refresh token and scope; bound to its account, or to one session. */
@Entity({ name: 'oauth_grants' })
@Check('oauth_grants_status_check', `status in ('active', 'reauth_required', 'revoked')`)
@Index('oauth_grants_account_id_key', ['accountId'], { unique: true, where: 'session_id is null' })
@Index('oauth_grants_session_id_key', ['sessionId'], { unique: true, where: 'session_id is not null' })
export class Grant {
  @PrimaryColumn('uuid', { primaryKeyConstraintName: 'oauth_grants_pkey' })
  id!: string;

  @Index('oauth_grants_account_id_idx')
  @ForeignKey(() => Account, { name: 'oauth_grants_account_id_fkey', onDelete: 'CASCADE' })
  @Column('uuid', { name: 'account_id' })
  accountId!: string;

  /** Null for an account-bound grant. */
  @Column('uuid', { name: 'session_id', nullable: true })
  sessionId!: string | null;

  /** The client registration that the tokens belong to. */
  @Column('text')
  provider!: string;

  @Column('text', { array: true })
  scope!: string[];

  /** Sealed. */
  @Column('text', { name: 'refresh_token', nullable: true })
  refreshToken!: string | null;

  @Column('timestamptz', { name: 'refresh_expires_at', nullable: true })
  refreshExpiresAt!: Date | null;

  /** Sealed private JWK. */
  @Column('text', { name: 'dpop_key', nullable: true })
  dpopKey!: string | null;

  /** Changes only with the refresh token or the status. */
  @Column('integer', { default: 1 })
  version!: number;

  @Column('text', { default: 'active' })
  status!: GrantStatus;

  @Column('text', { name: 'status_reason', nullable: true })
  statusReason!: string | null;

  /** Who is refreshing. */
  @Column('uuid', { name: 'lease_owner', nullable: true })
  leaseOwner!: string | null;

  @Column('timestamptz', { name: 'lease_until', nullable: true })
  leaseUntil!: Date | null;

  /** Journal: written before the refresh token is sent, cleared with the answer. */
  @Column('timestamptz', { name: 'refresh_sent_at', nullable: true })
  refreshSentAt!: Date | null;

  /** Answers lost in a row for this refresh token. */
  @Column('integer', { name: 'lost_answers', default: 0 })
  lostAnswers!: number;

  /** When the login was that the refresh token stems from; its session was created at the very same time. */
  @Column('timestamptz', { name: 'created_at', default: () => 'now()' })
  createdAt!: Date;

  @Column('timestamptz', { name: 'updated_at', default: () => 'now()' })
  updatedAt!: Date;
}
