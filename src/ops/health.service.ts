// A health indicator in the shape that @nestjs/terminus expects, without depending on it.
import { Injectable } from '@nestjs/common';
import { Sealer } from '../crypto/sealing.js';
import { ResolvedOptions } from '../options/resolve-options.js';
import { SessionCache } from '../sessions/session-cache.service.js';
import { SessionRepository } from '../sessions/session.repository.js';

/** What the indicator found. */
export interface OAuthHealth {
  readonly status: 'up' | 'down';
  readonly database: 'up' | 'down';
  /** The key ring seals and opens. */
  readonly keys: 'up' | 'down';
  /** `bypassed`: the listening connection is late or lost, or a trigger is not enabled always, and every request asks the database. */
  readonly cache: 'off' | 'coherent' | 'bypassed';
}

/**
 * Health of sessions and keys. Providers are left out: that one of them is away is no reason to restart an application.
 *
 * @example this.health.check([() => this.oauth.isHealthy('oauth')])
 */
@Injectable()
export class OAuthHealthIndicator {
  constructor(
    private readonly sessions: SessionRepository,
    private readonly cache: SessionCache,
    private readonly sealer: Sealer,
    private readonly options: ResolvedOptions,
  ) {}

  /** @param key name in the report */
  async isHealthy<Key extends string = 'oauth'>(key: Key = 'oauth' as Key): Promise<Record<Key, OAuthHealth>> {
    const [database, keys] = await Promise.all([upOrDown(this.sessions.aliveAmong([])), upOrDown(this.#sealAndOpen())]);
    const cache = this.options.session.cache === 'off' ? 'off' : this.cache.isCoherent ? 'coherent' : 'bypassed';
    const status = database === 'up' && keys === 'up' ? 'up' : 'down';
    return { [key]: { status, database, keys, cache } } as Record<Key, OAuthHealth>;
  }

  async #sealAndOpen(): Promise<void> {
    await this.sealer.open(['health', 'check'], await this.sealer.seal(['health', 'check'], 'ok'));
  }
}

async function upOrDown(check: Promise<unknown>): Promise<'up' | 'down'> {
  return check.then(
    () => 'up',
    () => 'down',
  );
}
