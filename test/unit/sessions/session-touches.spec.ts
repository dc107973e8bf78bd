import { setTimeout as sleep } from 'node:timers/promises';
import type { ResolvedOptions } from '../../../src/options/resolve-options.js';
import type { FoundSession } from '../../../src/sessions/session-record.js';
import { SessionTouches } from '../../../src/sessions/session-touches.js';
import type { SessionRepository, Touched } from '../../../src/sessions/session.repository.js';

const HOUR = 3_600_000;

function found(id: string, lastSeen: number, idleLeft = HOUR): FoundSession {
  const record = { id, last_seen_at: lastSeen, idle_expires_at: Date.now() + idleLeft };
  return { record, version: '7 9', clock: Date.now() - performance.now(), seenAt: lastSeen } as unknown as FoundSession;
}

describe('touches', () => {
  let written: string[];
  let hold: Promise<void> | undefined;
  let failing: boolean;
  /** What is said to be written. */
  let touched: Touched[];
  let touches: SessionTouches;

  beforeEach(() => {
    written = [];
    hold = undefined;
    failing = false;
    touched = [];
    const sessions = {
      touch: async (batch: readonly { id: string }[]) => {
        written.push(...batch.map(({ id }) => id));
        await hold;
        if (failing) throw new Error('the database is away');
        return touched;
      },
    };
    const options = { session: { touchInterval: 0.3, idleTimeout: 3600 } };
    touches = new SessionTouches(sessions as unknown as SessionRepository, options as ResolvedOptions);
  });

  it('extends a session that stays in memory once in an interval, however often it is used', async () => {
    const one = found('one', Date.now() - HOUR);
    for (let use = 0; use < 50; use++) {
      touches.note(one);
      await touches.flush();
    }
    expect(written).toEqual(['one']);
    await sleep(350);
    touches.note(one);
    await touches.flush();
    expect(written).toEqual(['one', 'one']);
  });

  it('does not write again what is being written, although lookups still say that it is due', async () => {
    let release = (): void => undefined;
    hold = new Promise((resolve) => (release = resolve));
    touches.note(found('one', Date.now() - HOUR));
    const writing = touches.flush();
    touches.note(found('one', Date.now() - HOUR));
    touches.note(found('two', Date.now() - HOUR));
    release();
    await writing;
    await touches.flush();
    expect(written).toEqual(['one', 'two']);
    touches.note(found('one', Date.now() - HOUR));
    await touches.flush();
    expect(written).toEqual(['one', 'two', 'one']);
  });

  it('writes what could not be written at the next use: it stays due', async () => {
    const one = found('one', Date.now() - HOUR);
    failing = true;
    touches.note(one);
    await touches.flush();
    failing = false;
    touches.note(one);
    await touches.flush();
    expect(written).toEqual(['one', 'one']);
    touches.note(one);
    await touches.flush();
    expect(written).toEqual(['one', 'one']);
  });

  it('with little idle time left notes a use until the row says that it was written: it may have been passed over', async () => {
    const one = found('one', Date.now() - HOUR, 500);
    for (let use = 0; use < 3; use++) {
      touches.note(one);
      touches.note(one);
      await touches.flush();
    }
    expect(written).toEqual(['one', 'one', 'one']);
  });

  it('with little idle time left as well once it is written', async () => {
    const one = found('one', Date.now() - HOUR, 500);
    touched = [{ id: 'one', before: '7', after: '8' }];
    for (let use = 0; use < 3; use++) {
      touches.note(one);
      await touches.flush();
    }
    expect(written).toEqual(['one']);
  });

  it('takes the version that it made for the one that was read, unless somebody else had made one before', async () => {
    const [one, two, three, cached] = ['one', 'two', 'three', 'cached'].map((id) => found(id, Date.now() - HOUR));
    Object.assign(cached!, { version: '' });
    touched = [
      { id: 'one', before: '7', after: '8' },
      { id: 'two', before: '77', after: '78' },
      { id: 'cached', before: '7', after: '8' },
    ];
    for (const each of [one, two, three, cached]) touches.note(each!);
    await touches.flush();
    expect([one, two, three, cached].map((each) => each!.version)).toEqual(['8 9', '7 9', '7 9', '']);
  });
});
