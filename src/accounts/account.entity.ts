// oauth_accounts: an identity at a provider and the application's user it belongs to.
import { Column, Entity, Index, PrimaryColumn, Unique } from 'typeorm';
import type { OAuthProfile } from '../options/login.js';

/** An identity, keyed by issuer and subject, never by e-mail. */
@Entity({ name: 'oauth_accounts' })
@Unique('oauth_accounts_issuer_subject_key', ['issuer', 'subject'])
export class Account {
  @PrimaryColumn('uuid', { primaryKeyConstraintName: 'oauth_accounts_pkey' })
  id!: string;

  @Column('text')
  provider!: string;

  @Column('text')
  issuer!: string;

  @Column('text')
  subject!: string;

  @Index('oauth_accounts_user_id_idx')
  @Column('text', { name: 'user_id' })
  userId!: string;

  @Column('jsonb')
  profile!: OAuthProfile;

  @Column('timestamptz', { name: 'created_at', default: () => 'now()' })
  createdAt!: Date;

  @Column('timestamptz', { name: 'last_login_at', default: () => 'now()' })
  lastLoginAt!: Date;
}
