// Counts refreshes, by listening to what the module tells.
import { Injectable } from '@nestjs/common';
import { OAuthEvents } from 'nest-oauth-client';

/** Refreshes since the demo started. */
@Injectable()
export class RefreshCounter {
  count = 0;
  /** How long the latest one took, milliseconds. */
  lastMs: number | null = null;

  constructor(events: OAuthEvents) {
    events.on('refreshed', ({ durationMs }) => {
      this.count += 1;
      this.lastMs = durationMs;
    });
  }
}
