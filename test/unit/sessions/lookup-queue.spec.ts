// Batches of questions: bounded in size and number, never joined once sent, and nobody is left without an answer.
import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises';
import type { ResolvedOptions } from '../../../src/options/resolve-options.js';
import type { KnownSessions } from '../../../src/sessions/known-sessions.service.js';
import { LookupQueue, type Waiter } from '../../../src/sessions/lookup-queue.js';
import type { SessionCache } from '../../../src/sessions/session-cache.service.js';
import { SessionLookup } from '../../../src/sessions/session-lookup.js';
import type { FoundSession } from '../../../src/sessions/session-record.js';
import type { SessionRepository } from '../../../src/sessions/session.repository.js';

type Asked = Waiter<string>;

/** A batch that was sent, to be answered by the test. */
interface Sent {
  readonly batch: Asked[];
  readonly done: () => void;
  readonly fail: (error: Error) => void;
}

describe('the queue of lookups', () => {
  let sent: Sent[];
  let queue: LookupQueue<Asked>;

  beforeEach(() => {
    sent = [];
    queue = new LookupQueue((batch) => new Promise((done, fail) => sent.push({ batch, done, fail })));
  });

  const ask = (key: string) =>
    new Promise<string>((resolve, reject) => queue.add({ key, since: performance.now(), resolve, reject }));
  const sizes = () => sent.map(({ batch }) => batch.length);

  it('sends what is asked in one turn together, 32 at most, three at once, and the rest as places come free', async () => {
    const answers = Promise.all(Array.from({ length: 130 }, (_, index) => ask(String(index))));
    expect(sent).toHaveLength(0);
    await turn();
    expect(sizes()).toEqual([32, 32, 32]);
    const answer = ({ batch, done }: Sent) => (batch.forEach(({ key, resolve }) => resolve(key)), done());
    answer(sent[1]!);
    await turn();
    expect(sizes()).toEqual([32, 32, 32, 32]);
    for (const index of [0, 2, 3]) answer(sent[index]!);
    await turn();
    expect(sizes()).toEqual([32, 32, 32, 32, 2]);
    answer(sent[4]!);
    expect(await answers).toEqual(Array.from({ length: 130 }, (_, index) => String(index)));
  });

  it('never adds to a batch that was sent, for the same session neither', async () => {
    void ask('a');
    await turn();
    void ask('a');
    await turn();
    expect(sizes()).toEqual([1, 1]);
  });

  it('fails whoever has no answer yet when a batch fails half way, and goes on', async () => {
    const outcomes = Promise.allSettled(['a', 'b'].map(ask));
    await turn();
    sent[0]!.batch[0]!.resolve('answered');
    sent[0]!.fail(new Error('lost'));
    expect((await outcomes).map(({ status }) => status)).toEqual(['fulfilled', 'rejected']);
    for (let round = 1; round <= 5; round++) {
      const failing = ask('c').catch(() => 'failed');
      await turn();
      sent[round]!.fail(new Error('lost'));
      expect(await failing).toBe('failed');
    }
  });
});

describe('a session that has changed since it was read', () => {
  const lookup = (sessions: object, known: object, databaseTimeout: number) =>
    new SessionLookup(
      sessions as SessionRepository,
      {
        get: () => undefined,
        open: () => null,
        close: () => undefined,
        store: () => undefined,
      } as unknown as SessionCache,
      known as KnownSessions,
      { databaseTimeout } as ResolvedOptions,
    );

  it('is read in what the check has left of the time', async () => {
    const within: number[] = [];
    const forgotten: string[] = [];
    const sessions = {
      check: async (keys: string[], left: number) => {
        within.push(left);
        await sleep(100);
        return { now: Date.now(), versions: new Map(keys.map((key) => [key, '2 2'])) };
      },
      findLive: (_: string[], left: number) => (within.push(left), Promise.resolve([])),
    };
    const known = { get: () => ({ version: '1 1' }) as FoundSession, forget: (key: string) => forgotten.push(key) };
    expect(await lookup(sessions, known, 1_000).find('cookie')).toBeNull();
    expect(forgotten).toHaveLength(1);
    expect(within[0]).toBeGreaterThan(within[1]! + 90);
    expect(within[0]).toBeLessThanOrEqual(1_000);
  });

  it('lets nobody in when the check says nothing of it, or the reading after it fails', async () => {
    const known = { get: () => ({ version: '1 1' }) as FoundSession, forget: () => undefined };
    const check = (versions: Map<string, string>) => () => Promise.resolve({ now: Date.now(), versions });
    expect(await lookup({ check: check(new Map()) }, known, 1_000).find('cookie')).toBeNull();
    const changed = {
      check: async (keys: string[]) => ({ now: Date.now(), versions: new Map(keys.map((key) => [key, '2 1'])) }),
      findLive: () => Promise.reject(new Error('lost')),
    };
    await expect(lookup(changed, known, 1_000).find('cookie')).rejects.toThrow('lost');
  });
});
