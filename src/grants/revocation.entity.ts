// oauth_revocations: the outbox of what must still be revoked at a provider.
import { Column, Entity, Index, PrimaryColumn } from 'typeorm';

/** One token to revoke. It stays until the provider confirms or the token has expired. */
@Entity({ name: 'oauth_revocations' })
@Index('oauth_revocations_waiting_idx', ['id'], { where: 'waiting' })
export class Revocation {
  @PrimaryColumn('uuid', { primaryKeyConstraintName: 'oauth_revocations_pkey' })
  id!: string;

  @Column('text')
  provider!: string;

  @Column('text')
  issuer!: string;

  @Column('text')
  subject!: string;

  /** Sealed. */
  @Column('text')
  token!: string;

  /** `refresh_token` or `access_token` (RFC 7009 §2.1). */
  @Column('text')
  hint!: string;

  @Column('integer', { default: 0 })
  attempts!: number;

  @Column('timestamptz', { name: 'created_at', default: () => 'now()' })
  createdAt!: Date;

  @Index('oauth_revocations_next_attempt_at_idx')
  @Column('timestamptz', { name: 'next_attempt_at', default: () => 'now()' })
  nextAttemptAt!: Date;

  /** For the last active grant of this identity to end: until then the revocation would end that as well. */
  @Column('boolean', { default: false })
  waiting!: boolean;

  /** When trying has no more sense. */
  @Column('timestamptz', { name: 'expires_at' })
  expiresAt!: Date;
}
