// Writing a refreshed token back: where the version is unchanged, and again and again while the database or the key
// ring is away, for as long as the lease keeps others out. What cannot be written is revoked, or loudly given up.
import { setTimeout as sleep } from 'node:timers/promises';
import { Injectable } from '@nestjs/common';
import { Sealer } from '../crypto/sealing.js';
import { OAuthEvents } from '../events/oauth-events.service.js';
import type { TokenSet } from '../providers/token-set.js';
import { accessTokenContext, refreshTokenContext } from './grant-sealing.js';
import { type GrantRow, ownerOf } from './grant.repository.js';
import { LeaseRepository, type Written } from './lease.repository.js';
import { RevocationOutbox } from './revocation-outbox.service.js';

/** Time to write the answer back after the provider's deadline, milliseconds. */
export const COMMIT_WINDOW = 30_000;
/** Pauses between two attempts, milliseconds. */
const FIRST_PAUSE = 50;
const MAX_PAUSE = 1_000;

/** A refresh that the provider answered. */
export interface Answered {
  readonly row: GrantRow;
  readonly audience: string;
  /** The refresh token that was sent. */
  readonly spent: string;
  readonly tokens: Pick<TokenSet, 'refreshToken' | 'refreshExpiresIn' | 'tokenType' | 'scope' | 'expiresIn'> & {
    /** Null where only the refresh token may be kept. */
    readonly accessToken: string | null;
  };
  readonly underFloor: boolean;
  /** Until then nobody else refreshes this grant, monotonic milliseconds. */
  readonly leaseEnd: number;
}

/** `written`; `moved` when the grant was ended or replaced meanwhile; `pending` while the database is away. */
export type Commit = { outcome: 'written'; written: Written } | { outcome: 'moved' } | { outcome: 'pending' };

/** Writes refreshed tokens. */
@Injectable()
export class RefreshCommit {
  readonly #pending = new Set<Promise<unknown>>();

  constructor(
    private readonly leases: LeaseRepository,
    private readonly outbox: RevocationOutbox,
    private readonly sealer: Sealer,
    private readonly events: OAuthEvents,
  ) {}

  /** Writes once; when that fails for want of database or keys, goes on trying behind and says `pending`. */
  async write(answered: Answered): Promise<Commit> {
    try {
      return await this.#attempt(answered, false);
    } catch {
      const trying = this.#insist(answered).finally(() => this.#pending.delete(trying));
      this.#pending.add(trying);
      return { outcome: 'pending' };
    }
  }

  /** Resolves when no token waits in memory any more to be written: within the bound of {@link write}. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#pending);
  }

  async #insist(answered: Answered): Promise<void> {
    for (let pause = FIRST_PAUSE; performance.now() < answered.leaseEnd; pause = Math.min(MAX_PAUSE, pause * 2)) {
      await sleep(pause);
      try {
        await this.#attempt(answered, true);
        return;
      } catch {
        // Away still.
      }
    }
    const { provider, id } = answered.row;
    this.events.emit('alarm', {
      code: 'refreshed_token_lost',
      provider,
      message: `a refreshed token of grant ${id} could not be written for ${COMMIT_WINDOW / 1000} s and was given up; its user may have to connect "${provider}" again`,
    });
  }

  async #attempt(answered: Answered, again: boolean): Promise<Commit> {
    const { row, audience, tokens, spent } = answered;
    const owner = ownerOf(row);
    const rotated = tokens.refreshToken !== null && tokens.refreshToken !== spent;
    const written = await this.leases.writeBack({
      grantId: row.id,
      version: row.version,
      audience,
      refreshToken: rotated ? await this.sealer.seal(refreshTokenContext(owner), tokens.refreshToken) : null,
      refreshExpiresIn: tokens.refreshExpiresIn,
      accessToken:
        tokens.accessToken === null
          ? null
          : await this.sealer.seal(accessTokenContext(owner, audience), tokens.accessToken),
      tokenType: tokens.tokenType,
      scope: tokens.scope,
      expiresIn: tokens.expiresIn,
      underFloor: answered.underFloor,
    });
    if (written) return { outcome: 'written', written };
    if (again && rotated && (await this.#isOurs(answered))) return { outcome: 'moved' };
    // One that came back as it was sent is nobody's loss: the grant may hold it still, and if it has ended, so has it.
    await this.discard(row, rotated ? tokens : { ...tokens, refreshToken: null });
    return { outcome: 'moved' };
  }

  /** An earlier attempt may have been carried out although its answer was lost: then the stored token is ours, and good. */
  async #isOurs({ row, tokens }: Answered): Promise<boolean> {
    const stored = await this.leases.refreshTokenOf(row.id);
    return (
      stored !== null && (await this.sealer.open(refreshTokenContext(ownerOf(row)), stored)) === tokens.refreshToken
    );
  }

  /** What was issued belongs to nobody (logged out, a newer login won, refused): it is revoked. */
  async discard(row: GrantRow, tokens: { refreshToken: string | null; accessToken: string | null }): Promise<void> {
    const { refreshToken, accessToken } = tokens;
    await this.outbox.add({ ...ownerOf(row), refreshToken, accessToken });
    this.outbox.wake();
  }
}
