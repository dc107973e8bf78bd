import { setTimeout as sleep } from 'node:timers/promises';
import { Logger } from '@nestjs/common';
import type { Listener } from '../../../src/database/listener.service.js';
import { OAuthEvents } from '../../../src/events/oauth-events.service.js';
import type { ResolvedOptions } from '../../../src/options/resolve-options.js';
import { SessionEnds } from '../../../src/sessions/session-ends.service.js';
import type { SessionRepository } from '../../../src/sessions/session.repository.js';

describe('ends of sessions', () => {
  /** Resolve the looks, in the order in which they were begun. */
  let looks: ((alive: string[]) => void)[];
  let notify: ((payload: string) => void) | undefined;
  let ends: SessionEnds;
  let seen: string[];
  let events: OAuthEvents;

  // Ends are logged.
  beforeAll(() => Logger.overrideLogger(false));
  beforeEach(() => {
    looks = [];
    notify = undefined;
    seen = [];
    const sessions = { aliveAmong: () => new Promise<string[]>((resolve) => looks.push(resolve)) };
    const listener = {
      listen: (_channel: string, handler: (payload: string) => void) => {
        notify = handler;
        return () => (notify = undefined);
      },
    };
    events = new OAuthEvents();
    const options = { session: { cache: 'coherent', stalenessBound: 60 } };
    ends = new SessionEnds(
      sessions as unknown as SessionRepository,
      listener as unknown as Listener,
      events,
      options as ResolvedOptions,
    );
  });
  afterEach(() => ends.beforeApplicationShutdown());

  const watch = (id: string) =>
    ends.ends(id).subscribe({ next: () => seen.push(`${id} ended`), complete: () => seen.push(`${id} complete`) });

  it('looks again when it is notified while it looks: what it reads may be older', async () => {
    watch('one');
    notify!('one');
    notify!('one');
    notify!('one');
    expect(looks).toHaveLength(1);
    looks[0]!(['one']);
    await sleep(0);
    expect(looks).toHaveLength(2);
    expect(seen).toEqual([]);
    looks[1]!([]);
    await sleep(0);
    expect(looks).toHaveLength(2);
    expect(seen).toEqual(['one ended', 'one complete']);
  });

  it('completes without a value at shutdown, also what is asked for later', () => {
    watch('one');
    watch('two');
    ends.beforeApplicationShutdown();
    watch('three');
    expect(seen).toEqual(['one complete', 'two complete', 'three complete']);
    expect(notify).toBeUndefined();
  });

  it('tells at once of a session that ended after it was found and before it is watched, and remembers the last 1,000', () => {
    const logout = (...sessionIds: string[]) => events.emit('logout', { userId: 'u', sessionIds, by: 'user' });
    logout('one');
    watch('one');
    expect(seen).toEqual(['one ended', 'one complete']);
    logout(...Array.from({ length: 999 }, (_, n) => `other ${n}`));
    watch('one');
    expect(seen).toHaveLength(4);
    logout('last');
    watch('one');
    expect(seen).toHaveLength(4);
  });
});
