// oauth_logout_tokens: back-channel logout tokens already seen.
import { Column, Entity, Index, PrimaryColumn } from 'typeorm';

/** A received logout token; it also keeps a session from being written that it was meant to end. */
@Entity({ name: 'oauth_logout_tokens' })
@Index('oauth_logout_tokens_issuer_sid_idx', ['issuer', 'sid'])
@Index('oauth_logout_tokens_issuer_sub_idx', ['issuer', 'sub'])
export class LogoutToken {
  /** SHA-256 of issuer and jti. */
  @PrimaryColumn('bytea', { name: 'token_hash', primaryKeyConstraintName: 'oauth_logout_tokens_pkey' })
  tokenHash!: Buffer;

  @Column('text')
  issuer!: string;

  @Column('text', { nullable: true })
  sid!: string | null;

  @Column('text', { nullable: true })
  sub!: string | null;

  @Index('oauth_logout_tokens_received_at_idx')
  @Column('timestamptz', { name: 'received_at', default: () => 'now()' })
  receivedAt!: Date;
}
