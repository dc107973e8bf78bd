// Keeps idle account-bound grants alive whose refresh token would lapse, for work in the background. Off by default.
import { setTimeout as sleep } from 'node:timers/promises';
import { Injectable, Logger, type OnApplicationBootstrap, type OnApplicationShutdown } from '@nestjs/common';
import { ResolvedOptions } from '../options/resolve-options.js';
import { GrantRepository, type LapsingGrant } from './grant.repository.js';
import { Refresher } from './refresh.service.js';

/** Grants taken up in one round. */
const BATCH = 100;
/** Longest time between two rounds, seconds. */
const MAX_INTERVAL = 60;

/** Refreshes grants before their refresh tokens lapse, one after the other, spread over the time between two rounds. */
@Injectable()
export class GrantKeeper implements OnApplicationBootstrap, OnApplicationShutdown {
  readonly #logger = new Logger('OAuth');
  readonly #stop = new AbortController();
  #working: Promise<void> | undefined;

  constructor(
    private readonly grants: GrantRepository,
    private readonly refresher: Refresher,
    private readonly options: ResolvedOptions,
  ) {}

  onApplicationBootstrap(): void {
    if (this.options.refresh.keepAlive > 0) this.#working = this.#work();
  }

  async onApplicationShutdown(): Promise<void> {
    this.#stop.abort();
    await this.#working;
  }

  async #work(): Promise<void> {
    const interval = Math.min(MAX_INTERVAL, this.options.refresh.keepAlive / 10) * 1000;
    // Grants that cannot be refreshed, as those of a provider that is away or no longer configured, stay in the list. So
    // each round goes on where the last one ended: from its head it would never come to those behind them.
    let after: LapsingGrant | null = null;
    while (!this.#stop.signal.aborted) {
      const page: LapsingGrant[] | null = await this.grants
        .lapsing(this.options.refresh.keepAlive, { after, limit: BATCH })
        .catch(() => null);
      const due = page ?? [];
      // Where the database did not answer, the place in the list stays.
      if (page) after = page.length < BATCH ? null : page.at(-1)!;
      const pause = interval / (due.length + 1);
      for (const grant of due) {
        await this.#pause(pause);
        if (!this.#stop.signal.aborted) await this.#keep(grant);
      }
      await this.#pause(pause);
    }
  }

  async #keep({ id: grantId, token_stamp: stamp }: LapsingGrant): Promise<void> {
    try {
      const row = await this.grants.byId(grantId, '');
      // Another instance has the same list: what it has refreshed since is not due any more.
      if (row?.status === 'active' && row.refreshable && row.token_stamp === stamp)
        await this.refresher.refresh(row, { audience: '', unwanted: stamp });
    } catch (error) {
      this.#logger.debug(
        `grant ${grantId} was not kept alive: ${error instanceof Error ? error.message : 'unknown error'}`,
      );
    }
  }

  /** Half to one and a half times as long: instances that started together drift apart. */
  async #pause(milliseconds: number): Promise<void> {
    const options = { signal: this.#stop.signal, ref: false };
    await sleep(milliseconds * (0.5 + Math.random()), undefined, options).catch(() => undefined);
  }
}
