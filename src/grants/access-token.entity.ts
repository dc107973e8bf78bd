// oauth_access_tokens: the access tokens made from a grant, one per audience.
import { Column, Entity, ForeignKey, PrimaryColumn } from 'typeorm';
import { Grant } from './grant.entity.js';

/** The last access token of a grant for one resource and scope. */
@Entity({ name: 'oauth_access_tokens' })
export class StoredAccessToken {
  @ForeignKey(() => Grant, { name: 'oauth_access_tokens_grant_id_fkey', onDelete: 'CASCADE' })
  @PrimaryColumn('uuid', { name: 'grant_id', primaryKeyConstraintName: 'oauth_access_tokens_pkey' })
  grantId!: string;

  /** Resource and scope asked for; empty for the grant's own. */
  @PrimaryColumn('text', { primaryKeyConstraintName: 'oauth_access_tokens_pkey' })
  audience!: string;

  /** Sealed. */
  @Column('text')
  token!: string;

  @Column('text', { name: 'token_type' })
  tokenType!: string;

  @Column('text', { array: true })
  scope!: string[];

  @Column('timestamptz', { name: 'issued_at', default: () => 'now()' })
  issuedAt!: Date;

  /** Null when the provider does not say. */
  @Column('timestamptz', { name: 'expires_at', nullable: true })
  expiresAt!: Date | null;

  /** The last refresh; null for a token that came with the login. */
  @Column('timestamptz', { name: 'refreshed_at', nullable: true })
  refreshedAt!: Date | null;

  /** Sealed private JWK of a token that came with a login which left the grant its refresh token and key; null: the grant's key. */
  @Column('text', { name: 'dpop_key', nullable: true })
  dpopKey!: string | null;
}
