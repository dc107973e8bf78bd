// Sessions under many writers at once, read by two applications that remember them: nothing that was committed before a
// request began is missing from its answer.
import { setTimeout as sleep } from 'node:timers/promises';
import { SessionService } from '../../src/index.js';
import { SessionRepository } from '../../src/sessions/session.repository.js';
import { WebRequest } from '../../src/sessions/web-request.js';
import { FakeProvider } from '../../src/testing/index.js';
import { oidcOf, type RunningApp, startApp } from '../support/app.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { UserAgent } from '../support/user-agent.js';

const SESSIONS = 6;
const READERS = 12;
/** Milliseconds. */
const LASTS = 3_000;

/** What a session says, each a number that only grows. */
interface Said {
  acr: number;
  scope: number;
  profile: number;
}

describe('sessions that several processes remember', () => {
  let database: TestDatabase;
  let provider: FakeProvider;
  let other: FakeProvider;
  let apps: RunningApp[];

  beforeAll(async () => {
    [database, provider, other] = await Promise.all([createTestDatabase(), FakeProvider.start(), FakeProvider.start()]);
    const start = (platform: 'express' | 'fastify', cacheSize: number) =>
      startApp({
        platform,
        database: database.url,
        // With grants of their own: a login that changes the account's would be noticed by that already.
        providers: [oidcOf(provider, { grant: 'session' }), oidcOf(other, { name: 'other' })],
        oauth: { session: { cacheSize } },
      });
    // The second one has room for some of them only.
    apps = await Promise.all([start('express', 10_000), start('fastify', 4)]);
  });
  afterAll(async () => {
    await Promise.all(apps?.map((app) => app.close()) ?? []);
    await Promise.all([provider?.close(), other?.close()]);
    await database?.drop();
  });

  async function login(name: string): Promise<UserAgent> {
    const agent = new UserAgent();
    provider.user({ sub: 'one', name });
    const answer = await agent.navigate(`${apps[0]!.url}/auth/fake/login?returnTo=/me/public`);
    expect(answer.status).toBe(200);
    return agent;
  }

  // Each alone as well: what one of them changes might show only because another writes the same rows.
  it.each([
    { changing: ['acr'] },
    { changing: ['scope'] },
    { changing: ['profile'] },
    { changing: ['acr', 'scope', 'profile', 'touches'] },
  ] as const)(
    'show every change, and every end, to the requests that begin after it: $changing',
    async ({ changing }) => {
      const cookieOf = (agent: UserAgent) => agent.cookie('oauth_session')!;
      const cookies: string[] = [];
      for (let i = 0; i < SESSIONS; i++) cookies.push(cookieOf(await login('0')));
      const ended = new Set<string>();
      const committed: Said = { acr: 0, scope: 0, profile: 0 };
      await database.query(`update oauth_sessions set acr = '0'`);
      await database.query(`update oauth_grants set scope = '{"0"}'`);
      const repository = apps[0]!.app.get(SessionRepository, { strict: false });
      const [services, until] = [apps.map(({ app }) => app.get(SessionService)), performance.now() + LASTS];
      const going = () => performance.now() < until;
      const counts = { read: 0, refused: 0 };

      const grow = async (kind: keyof Said, write: (next: number) => Promise<unknown>): Promise<void> => {
        for (let next = committed[kind] + 1; going(); next++) {
          await write(next);
          committed[kind] = next;
          await sleep(Math.random() * 4);
        }
      };
      const touch = async (): Promise<void> => {
        while (going()) {
          const rows = await database.query<{ id: string; now: Date }>('select id, now() as now from oauth_sessions');
          const touches = rows.map(({ id, now }) => ({ id, seen: now }));
          await repository.touch(touches, 3_600);
          await sleep(2);
        }
      };
      const end = async (): Promise<void> => {
        while (going()) {
          const agent = new UserAgent();
          other.user({ sub: 'two' });
          await agent.navigate(`${apps[1]!.url}/auth/other/login?returnTo=/me/public`);
          const cookie = cookieOf(agent);
          cookies.push(cookie);
          await sleep(20);
          await agent.fetch(`${apps[0]!.url}/auth/logout`, { method: 'POST' });
          ended.add(cookie);
        }
      };
      const read = async (reader: number): Promise<void> => {
        const service = services[reader % services.length]!;
        while (going()) {
          const cookie = cookies[Math.floor(Math.random() * cookies.length)]!;
          const [before, dead] = [{ ...committed }, ended.has(cookie)];
          const { session } = await service.ofRequest(
            new WebRequest({ headers: { cookie: `oauth_session=${cookie}` } }),
          );
          counts.read++;
          if (dead) {
            counts.refused++;
            expect(session).toBeNull();
          } else if (session?.user.subject === 'one') {
            const said = {
              acr: Number(session.acr),
              scope: Number(session.scope[0]),
              profile: Number(session.user.profile.name),
            };
            const missed = (Object.keys(said) as (keyof Said)[]).filter((kind) => !(said[kind] >= before[kind]));
            expect({ missed, said, before }).toEqual({ missed: [], said, before });
          } else if (cookies.indexOf(cookie) < SESSIONS) throw new Error('a live session was refused');
          if (Math.random() < 0.1) await sleep(1);
        }
      };

      const writers = {
        // One at a time: a statement about all of them locks them in an order that a login need not share.
        acr: () =>
          grow('acr', async (next) => {
            for (const { id } of await database.query<{ id: string }>('select id from oauth_sessions'))
              await database.query('update oauth_sessions set acr = $2 where id = $1', [id, String(next)]);
          }),
        scope: () =>
          grow('scope', (next) => database.query(`update oauth_grants set scope = array[$1::text]`, [String(next)])),
        profile: () => grow('profile', (next) => login(String(next))),
        touches: touch,
      };
      await Promise.all([
        ...changing.map((kind) => writers[kind]()),
        end(),
        ...Array.from({ length: READERS }, (_, reader) => read(reader)),
      ]);
      for (const kind of ['acr', 'scope', 'profile'] as const)
        if (changing.some((changed) => changed === kind)) expect(committed[kind]).toBeGreaterThan(1);
      expect(counts.refused).toBeGreaterThan(0);
    },
    60_000,
  );
});
