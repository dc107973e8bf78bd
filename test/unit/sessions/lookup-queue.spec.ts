// Batches of questions: bounded in size and number, never joined once sent, and nobody is left without an answer.
import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises';
import type { ResolvedOptions } from '../../../src/options/resolve-options.js';
import type { KnownSessions } from '../../../src/sessions/known-sessions.service.js';
import { LookupQueue, type Waiter } from '../../../src/sessions/lookup-queue.js';
import type { SessionCache } from '../../../src/sessions/session-cache.service.js';
import { SessionLookup } from '../../../src/sessions/session-lookup.js';
import type { FoundSession } from '../../../src/sessions/session-record.js';
import type { LookupRepository } from '../../../src/sessions/lookup.repository.js';
import { Turn } from '../../../src/sessions/turn.js';

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
    queue = new LookupQueue(
      (batch, done) => sent.push({ batch, done, fail: done }),
      () => 1_000,
    );
  });

  const ask = (key: string) =>
    new Promise<string>((resolve, reject) => {
      queue.add({ key, since: performance.now(), resolve, reject });
      setImmediate(() => queue.flush());
    });
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

  it('fails who was kept back for too long, and sends the others', async () => {
    for (let each = 0; each < 3; each++) {
      for (let asked = 0; asked < 32; asked++) void ask('first');
      await turn();
    }
    const waiting = (ago: number) =>
      new Promise<string>((resolve, reject) => {
        queue.add({ key: String(ago), since: performance.now() - ago, resolve, reject });
      });
    const late = Array.from({ length: 40 }, () => waiting(1_001).catch((error: { code?: string }) => error.code));
    void waiting(500);
    queue.flush();
    expect(sizes()).toEqual([32, 32, 32]);
    sent[0]!.done();
    expect(await Promise.all(late)).toEqual(late.map(() => 'database_unavailable'));
    expect(sent.slice(3).map(({ batch }) => batch.map(({ key }) => key))).toEqual([['500']]);
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

/** Answers as the repository does, in a later turn. */
type Told = (error: Error | null, answer?: unknown) => void;
const answering = (answer: unknown) => (_keys: string[], _given: unknown, told: Told) =>
  void setImmediate(() => (answer instanceof Error ? told(answer) : told(null, answer)));

describe('a session that has changed since it was read', () => {
  const lookupOf = (sessions: object, known: object, databaseTimeout: number) =>
    new SessionLookup(
      sessions as LookupRepository,
      {
        get: () => undefined,
        open: () => null,
        close: () => undefined,
        store: () => undefined,
      } as unknown as SessionCache,
      known as KnownSessions,
      { databaseTimeout } as ResolvedOptions,
    );
  const found = (...given: Parameters<typeof lookupOf>) => lookupOf(...given).find('cookie', (session) => session);

  it('is read in what the check has left of the time', async () => {
    const within: number[] = [];
    const forgotten: string[] = [];
    const sessions = {
      check: (keys: string[], given: { within: number }, told: Told) => {
        within.push(given.within);
        setTimeout(() => told(null, { now: Date.now(), versions: keys.map(() => '2 2') }), 100);
      },
      findLive: (keys: string[], left: number, told: Told) => (within.push(left), answering([])(keys, left, told)),
    };
    const known = { get: () => ({ version: '1 1' }) as FoundSession, forget: (key: string) => forgotten.push(key) };
    expect(await found(sessions, known, 1_000)).toBeNull();
    expect(forgotten).toHaveLength(1);
    expect(within[0]).toBeGreaterThan(within[1]! + 90);
    expect(within[0]).toBeLessThanOrEqual(1_000);
  });

  it('is told the time of the database once in a second, and by it counts on', async () => {
    const [timed, seen]: [boolean[], number[]] = [[], []];
    const ahead = 3_600_000;
    const sessions = {
      check: (_keys: string[], given: { timed: boolean }, told: Told) => {
        timed.push(given.timed);
        // A dead session tells nothing, not even the time.
        const dead = timed.length === 1;
        const now = given.timed && !dead ? performance.now() + ahead : undefined;
        told(null, { now, versions: [dead ? undefined : '1 1'] });
      },
    };
    const session = () => ({ version: '1 1', clock: 0 }) as FoundSession;
    const lookup = lookupOf(sessions, { get: session, forget: () => undefined }, 1_000);
    const ask = () => lookup.find('cookie', (found) => found && seen.push(Math.round(found.clock / 1_000)));
    for (let time = 0; time < 4; time++) await ask();
    expect(timed).toEqual([true, true, false, false]);
    await sleep(1_050);
    await ask();
    await ask();
    expect(timed.slice(4)).toEqual([true, false]);
    expect(seen).toEqual([3_600, 3_600, 3_600, 3_600, 3_600]);
  });

  it('lets nobody in when the check says nothing of it, or the reading after it fails', async () => {
    const known = { get: () => ({ version: '1 1' }) as FoundSession, forget: () => undefined };
    const check = (versions: (string | undefined)[]) => answering({ now: Date.now(), versions });
    expect(await found({ check: check([undefined]) }, known, 1_000)).toBeNull();
    const changed = {
      check: check(['2 1']),
      findLive: answering(new Error('lost')),
    };
    await expect(found(changed, known, 1_000)).rejects.toThrow('lost');
  });
});

describe('questions of one turn', () => {
  const record = (id: string) => ({ record: { id }, version: '1 1' }) as FoundSession;
  const lookup = (cache: object, sessions: object = {}) =>
    new SessionLookup(
      sessions as LookupRepository,
      { open: () => null, close: () => undefined, store: () => undefined, ...cache } as unknown as SessionCache,
      { get: () => undefined, set: () => undefined } as unknown as KnownSessions,
      { databaseTimeout: 1_000 } as ResolvedOptions,
    );

  it('are answered from memory at the end of a busy turn: a session evicted meanwhile is asked for', async () => {
    let cached: FoundSession | undefined = record('a');
    const asked: string[][] = [];
    const found = lookup(
      { get: () => cached },
      { findLive: (keys: string[], left: number, told: Told) => (asked.push(keys), answering([])(keys, left, told)) },
    ).find('cookie', (session) => session);
    cached = undefined;
    expect(await found).toBeNull();
    expect(asked).toHaveLength(1);
  });

  it('a fault while one is looked up lets nobody in, and is his alone', async () => {
    let calls = 0;
    const get = () => {
      if (++calls === 2) throw new Error('fault');
      return record(`session-${calls}`);
    };
    const sessions = lookup({ get });
    const outcomes = await Promise.allSettled(
      ['one', 'two', 'three'].map((token) => sessions.find(token, (session) => session?.record.id)),
    );
    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
  });

  it('an error of one who takes an answer is his alone', async () => {
    const sessions = lookup({ get: () => record('a') });
    const outcomes = await Promise.allSettled([
      sessions.find('one', () => {
        throw new Error('refused');
      }),
      sessions.find('two', (session) => session?.record.id),
      sessions.find('three', () => Promise.reject(new Error('refused later'))),
    ]);
    expect(outcomes).toEqual([
      { status: 'rejected', reason: new Error('refused') },
      { status: 'fulfilled', value: 'a' },
      { status: 'rejected', reason: new Error('refused later') },
    ]);
  });

  it('are handed over together, in order, and those of the next turn apart', async () => {
    const turns: number[][] = [];
    const gathered = new Turn<number>((numbers) => turns.push([...numbers]));
    gathered.add(1);
    await Promise.resolve();
    gathered.add(2);
    expect(turns).toEqual([]);
    await turn();
    gathered.add(3);
    gathered.add(4);
    await turn();
    expect(turns).toEqual([
      [1, 2],
      [3, 4],
    ]);
  });

  it('are not kept waiting for others where nobody waits for the database; what comes meanwhile goes together', async () => {
    const asked: number[] = [];
    const answers: (() => void)[] = [];
    const findLive = (keys: string[], _left: number, told: Told) => {
      asked.push(keys.length);
      answers.push(() => told(null, []));
    };
    const sessions = lookup({ size: 0, get: () => undefined }, { findLive });
    const found = ['one', 'two', 'three'].map((token) => sessions.find(token, (session) => session));
    expect(asked).toEqual([1]);
    await turn();
    expect(asked).toEqual([1, 2]);
    answers.forEach((answer) => answer());
    expect(await Promise.all(found)).toEqual([null, null, null]);
    void sessions.find('four', (session) => session);
    expect(asked).toEqual([1, 2, 1]);
  });
});
