// What is remembered of sessions: bounded, the longest unused forgotten first, and nothing for long.
import { randomBytes } from 'node:crypto';
import { jest } from '@jest/globals';
import { resolveOptions } from '../../../src/options/resolve-options.js';
import { oauth2 } from '../../../src/providers/index.js';
import { KnownSessions } from '../../../src/sessions/known-sessions.service.js';
import type { FoundSession } from '../../../src/sessions/session-record.js';

const known = (session: object) =>
  new KnownSessions(
    resolveOptions({
      baseUrl: 'http://localhost:3000',
      encryption: { keys: [{ id: 'k', secret: randomBytes(32) }] },
      providers: [
        oauth2({
          name: 'acme',
          authorizationEndpoint: 'https://acme.example/authorize',
          tokenEndpoint: 'https://acme.example/token',
          clientId: 'id',
          clientSecret: 'secret',
          profile: () => ({ subject: '1' }),
        }),
      ],
      session,
    }),
  );
const found = (version: string) => ({ version }) as FoundSession;
const add = (sessions: KnownSessions, hash: string) => sessions.set(hash, found(hash), performance.now());

describe('known sessions', () => {
  afterEach(() => jest.restoreAllMocks());

  it('keeps no more than cacheSize, and those in use longer than others', () => {
    const sessions = known({ cacheSize: 10 });
    add(sessions, 'used');
    for (let i = 0; i < 100; i++) {
      add(sessions, `other ${i}`);
      expect(sessions.get('used')?.version).toBe('used');
      expect(sessions.size).toBeLessThanOrEqual(10);
    }
    expect(sessions.get('other 99')).toBeDefined();
    expect(sessions.get('other 50')).toBeUndefined();
  });

  it('keeps only some while far more are in use than it has room for, and all again when they are fewer', () => {
    const sessions = known({ cacheSize: 100 });
    let kept = 0;
    const use = (hash: string) => {
      if (sessions.get(hash)) return true;
      const before = sessions.size;
      add(sessions, hash);
      if (sessions.size !== before) kept++;
      return false;
    };
    for (let i = 0; i < 5_000; i++) use(`one of many ${i}`);
    expect(kept).toBeGreaterThan(500);
    expect(kept).toBeLessThan(1_500);
    let found = 0;
    for (let i = 0; i < 1_000; i++) if (use(`one of few ${i % 40}`)) found++;
    expect(found).toBeGreaterThan(700);
  });

  it('is not put off by a beginning at which everything is missing', () => {
    const sessions = known({ cacheSize: 100 });
    const all = Array.from({ length: 60 }, (_, i) => `session ${i}`);
    for (const hash of all) if (!sessions.get(hash)) add(sessions, hash);
    // Beyond the first generation, too.
    expect(sessions.size).toBe(60);
    expect(all.slice(50).every((hash) => sessions.get(hash))).toBe(true);
  });

  it('replaces and forgets', () => {
    const sessions = known({ cacheSize: 10 });
    add(sessions, 'a');
    sessions.set('a', found('later'), performance.now());
    expect([sessions.get('a')?.version, sessions.size]).toEqual(['later', 1]);
    sessions.forget('a');
    expect([sessions.get('a'), sessions.size]).toEqual([undefined, 0]);
  });

  it('knows nothing that was read more than a minute ago, however often it was used', () => {
    const sessions = known({ cacheSize: 10 });
    const clock = jest.spyOn(performance, 'now').mockReturnValue(1_000);
    add(sessions, 'a');
    for (const at of [30_000, 61_000]) {
      clock.mockReturnValue(at);
      expect(sessions.get('a')?.version).toBe('a');
    }
    clock.mockReturnValue(61_001);
    expect([sessions.get('a'), sessions.size]).toEqual([undefined, 0]);
  });

  it('keeps one session where there is room for one, and none beside the coherent cache', () => {
    const one = known({ cacheSize: 1 });
    add(one, 'a');
    expect(one.get('a')).toBeDefined();
    const beside = known({ cache: 'coherent' });
    add(beside, 'a');
    expect([beside.get('a'), beside.size]).toEqual([undefined, 0]);
  });
});
