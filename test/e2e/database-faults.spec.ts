// Postgres cut, stalled, restarted or exhausted at every step of a login: what the person sees, what must never happen,
// and that a reload afterwards gets its answer at once.
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { DataSource } from 'typeorm';
import { platforms } from '../support/app.js';
import { testServerUrl } from '../support/database.js';
import { type FailingDatabase, startOnFailingDatabase, type Trouble } from '../support/failing-database.js';
import { codeOf, type LoginFixture, startLogin } from '../support/login-fixture.js';
import type { AgentResponse } from '../support/user-agent.js';
import type { TcpProxy } from '../support/tcp-proxy.js';

const TIMEOUT = 2_000;
/** About one `databaseTimeout`; two of them would be 4,000. */
const ONE_WAIT = 3_200;

/** Steps after `/login`, by what their statement says. */
const STEPS = {
  'the state is used up': (sql: string) => sql.includes('with pending as'),
  'the account is looked up for onLogin': (sql: string) => sql.includes('from oauth_accounts where issuer'),
  // BEGIN, the locks and the write go together; COMMIT too where no older session ends with it.
  'the login is written': (sql: string) => sql.includes('with logged_out as'),
  'the login is committed': (sql: string) => sql === 'commit',
};

/** What the callback answers, and what the same callback answers again when all is well. */
interface Cell {
  first: 303 | 503;
  again: 303 | 503;
  /** A session exists although the person was told to try again: nobody has its cookie. */
  orphan?: boolean;
}
const FINISHED: Cell = { first: 303, again: 303 };
const FAILED: Cell = { first: 503, again: 503 };
const UNUSED: Cell = { first: 503, again: 303 };
const ORPHAN: Cell = { ...UNUSED, orphan: true };

const FIRST_LOGIN: Partial<Record<keyof typeof STEPS, Record<Trouble, Cell>>> = {
  // Before the server heard of it, nothing is spent. Afterwards the verifier is gone with the answer.
  'the state is used up': { cut: UNUSED, 'lose-answer': FAILED, stall: FAILED, restart: UNUSED },
  // Whatever was not committed may be done again; the code may not.
  'the account is looked up for onLogin': { cut: FINISHED, 'lose-answer': FINISHED, stall: FAILED, restart: FAILED },
  // Asked again, it says what it has done. What was held back on the way does nothing when nobody waits for it any more.
  'the login is written': { cut: FINISHED, 'lose-answer': FINISHED, stall: FAILED, restart: FAILED },
};
const LATER_LOGIN: typeof FIRST_LOGIN = {
  'the login is written': { cut: FINISHED, 'lose-answer': FINISHED, stall: FAILED, restart: FAILED },
  // Nobody knows.
  'the login is committed': { cut: FAILED, 'lose-answer': ORPHAN, stall: ORPHAN, restart: FAILED },
};

const MATRIX = [
  { login: 'first', cells: FIRST_LOGIN },
  { login: 'later', cells: LATER_LOGIN },
].flatMap(({ login, cells }) =>
  (Object.keys(cells) as (keyof typeof STEPS)[]).flatMap((step) =>
    (Object.keys(cells[step]!) as Trouble[]).map((trouble) => ({ login, step, trouble, cell: cells[step]![trouble] })),
  ),
);

async function timed(request: Promise<AgentResponse>): Promise<[AgentResponse, number]> {
  const began = performance.now();
  return [await request, performance.now() - began];
}

describe.each(platforms)('a database that fails on %s', (platform) => {
  let failing: FailingDatabase;
  let at: LoginFixture;
  let proxy: TcpProxy;
  const down = (): Promise<void> => failing.down();

  beforeAll(async () => {
    failing = await startOnFailingDatabase({
      platform,
      provider: { revocationScope: 'user' },
      oauth: { databaseTimeout: TIMEOUT, onLogin: ({ subject }) => `user of ${subject}` },
    });
    ({ at, proxy } = failing);
  });
  afterAll(() => failing?.[Symbol.asyncDispose]());
  beforeEach(() => at.provider.reset());
  afterEach(() => failing.recover());

  it.each<Trouble>(['cut', 'lose-answer', 'stall', 'restart'])(
    'E-001 E-004 %s while the pending login is written: 503 in one wait, nobody is sent away, and the next try works',
    async (trouble) => {
      const agent = at.agent();
      const times = failing.troubleAt(trouble, (sql) => sql.includes('insert into oauth_states'));
      const [answer, took] = await timed(agent.navigate(`${at.app.url}/auth/fake/login`, { followRedirects: false }));
      expect(times()).toBe(1);
      expect([answer.status, codeOf(answer), answer.headers.get('location')]).toEqual([
        503,
        'database_unavailable',
        null,
      ]);
      expect(took).toBeLessThan(ONE_WAIT);
      await sleep(400);
      await failing.recover();
      expect((await at.login(agent)).status).toBe(303);
    },
  );

  it.each(MATRIX)(
    'E-002 E-003 E-004 $trouble while $step, a $login login: one wait, no code sent twice, no half session, and a reload has its answer at once',
    async ({ login, step, trouble, cell }) => {
      const agent = at.agent();
      at.provider.user({ sub: `${login} ${step} ${trouble}` });
      if (login === 'later') await at.login(agent);
      at.provider.clearRequests();
      const url = await at.untilCallback(agent, '?returnTo=/me');
      const [sessions, accounts] = [await at.count('oauth_sessions'), await at.count('oauth_accounts')];
      const times = failing.troubleAt(trouble, STEPS[step]);

      const [answer, took] = await timed(at.callback(agent, url));
      expect(times()).toBe(1);
      expect(answer.status).toBe(cell.first);
      expect(took).toBeLessThan(trouble === 'stall' ? ONE_WAIT : TIMEOUT);
      if (cell.first === 503) {
        expect(codeOf(answer)).toBe('database_unavailable');
        expect(answer.body).toContain('try again');
        expect(answer.body).toContain(`href="${at.app.url}/auth/fake/login`);
      }

      // What was held back goes through now, and outcomes are noted.
      await sleep(400);
      await failing.recover();
      await sleep(300);
      // A later login takes the place of the one before, or leaves it as it was.
      const written = login === 'first' && (cell.first === 303 || cell.orphan) ? 1 : 0;
      expect(await at.count('oauth_sessions')).toBe(sessions + written);
      expect(await at.count('oauth_accounts')).toBe(accounts + written);
      expect(await at.status(agent)).toBe(cell.first === 303 || (login === 'later' && !cell.orphan) ? 200 : 401);

      const [again, waited] = await timed(at.callback(agent, url));
      expect(again.status).toBe(cell.again);
      expect(waited).toBeLessThan(2_000);
      if (again.status === 303) expect(again.headers.get('location')).toBe(`${at.app.url}/me`);
      else expect(again.body).toContain(`href="${at.app.url}/auth/fake/login`);
      expect(at.provider.requestsTo('code').length).toBeLessThanOrEqual(1);

      // What was issued in vain is revoked first, once the database is back: here that ends whatever the user has by then.
      if (login === 'first' && answer.status === 503 && step !== 'the state is used up')
        for (let wait = 0; wait < 200 && at.provider.revocations.length < 2; wait++) await sleep(100);

      // Whatever happened, the way that the page offers works.
      expect((await at.login(agent)).status).toBe(303);
      expect(await at.status(agent)).toBe(200);
    },
  );

  it('E-050 a callback that comes again in another process has the outcome of the first as soon as the database is back', async () => {
    const agent = at.agent();
    const url = await at.untilCallback(agent);
    failing.troubleAt('restart', STEPS['the login is written']);
    expect((await at.callback(agent, url)).status).toBe(503);
    await sleep(400);
    await failing.recover();
    const outcome = async (): Promise<string> =>
      (
        await at.database.query<{ outcome: string }>(
          'select outcome from oauth_states order by created_at desc limit 1',
        )
      )[0]!.outcome;
    for (let wait = 0; wait < 30 && (await outcome()) === 'pending'; wait++) await sleep(50);
    expect(await outcome()).toBe('failed:database_unavailable');
  });

  it('C-004 denies in one wait while the database is silent, however many ask', async () => {
    const agent = at.agent();
    await at.login(agent);
    proxy.stall();
    const asked = Array.from({ length: 40 }, async (_, index) => {
      await sleep(index * 40);
      return timed(agent.fetch(`${at.app.url}/me`));
    });
    const answers = await Promise.all(asked);
    expect(answers.map(([{ status }]) => status)).toEqual(answers.map(() => 503));
    expect(Math.max(...answers.map(([, took]) => took))).toBeLessThan(ONE_WAIT);
    await failing.recover();
    expect(await at.status(agent)).toBe(200);
  });

  it('E-001 away at login: 503 with Retry-After, and nobody is sent to the provider', async () => {
    for (const fail of [down, async () => proxy.stall()]) {
      await fail();
      const answer = await at.agent().navigate(`${at.app.url}/auth/fake/login`, { followRedirects: false });
      expect([answer.status, codeOf(answer), answer.headers.get('location')]).toEqual([
        503,
        'database_unavailable',
        null,
      ]);
      expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0);
      await proxy.resume();
    }
  });

  it('E-002 away before the state is used: 503, the code not spent; a reload after recovery finishes', async () => {
    const agent = at.agent();
    const url = await at.untilCallback(agent, '?returnTo=/back');
    await down();
    const answer = await at.callback(agent, url);
    expect([answer.status, codeOf(answer)]).toEqual([503, 'database_unavailable']);
    expect(at.provider.requestsTo('token')).toHaveLength(0);
    await proxy.resume();
    const again = await at.callback(agent, url);
    expect([again.status, again.headers.get('location')]).toEqual([303, `${at.app.url}/back`]);
  });

  it.each(['refuses', 'goes silent'])(
    'E-003 a database that %s between exchange and commit: no session, no grant, tokens revoked, try again',
    async (how) => {
      const agent = at.agent();
      const before = [await at.count('oauth_sessions'), await at.count('oauth_grants')];
      at.provider.user({ sub: `e3-${how}` });
      const url = await at.untilCallback(agent);
      at.provider.interpose('userinfo', { before: () => (how === 'refuses' ? down() : proxy.stall()), times: 1 });
      const answer = await at.callback(agent, url);
      expect([answer.status, codeOf(answer)]).toEqual([503, 'database_unavailable']);
      expect(answer.body).toContain('try again');
      // Whether a living grant would be lost is asked until the database is back.
      await sleep(300);
      expect(at.provider.revocations).toEqual([]);
      await proxy.resume();
      // Both are waited for: the second would else arrive in the next test.
      for (let wait = 0; wait < 200 && at.provider.revocations.length < 2; wait++) await sleep(200);
      expect(at.provider.revocations.map(({ hint, effective }) => [hint, effective])).toContainEqual([
        'refresh_token',
        true,
      ]);
      expect([await at.count('oauth_sessions'), await at.count('oauth_grants')]).toEqual(before);
      expect(await at.status(agent)).toBe(401);
      expect(at.provider.requestsTo('token')).toHaveLength(1);
    },
  );

  it.each(['refuses', 'goes silent'])(
    'E-003 a database that %s between exchange and commit, one revocation ending everything: a living grant stays',
    async (how) => {
      at.provider.user({ sub: `e3-living-${how}` });
      const agent = at.agent();
      expect((await at.login(agent)).status).toBe(303);
      const living = at.provider.issued.find(({ kind }) => kind === 'refreshToken')!;
      const second = at.agent();
      const url = await at.untilCallback(second);
      at.provider.interpose('userinfo', { before: () => (how === 'refuses' ? down() : proxy.stall()), times: 1 });
      expect((await at.callback(second, url)).status).toBe(503);
      await failing.recover();
      await sleep(1_500);
      expect(at.provider.revocations).toEqual([]);
      expect(at.provider.isActive(living.value)).toBe(true);
      expect(await at.status(agent)).toBe(200);
    },
  );

  it('E-004 a pool whose every connection was ended by the server serves the next request', async () => {
    const agent = at.agent();
    await at.login(agent);
    await at.database.query(
      `select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()`,
    );
    expect(await at.status(agent)).toBe(200);
    expect((await at.login(agent)).status).toBe(303);
  });

  it.each(['discard all', 'deallocate all'])(
    'serves requests and logins as ever after the application said %s on the connections it shares with us',
    async (forget) => {
      const agent = at.agent();
      await at.login(agent);
      const { master: pool } = at.app.app.get(DataSource).driver as unknown as { master: pg.Pool };
      await Promise.all(Array.from({ length: 10 }, () => at.status(agent)));
      for (let round = 0; round < 2; round++) {
        const clients = await Promise.all(Array.from({ length: pool.totalCount }, () => pool.connect()));
        for (const client of clients) await client.query(forget);
        for (const client of clients) client.release();
        expect(await at.status(agent)).toBe(200);
        expect((await at.login(agent)).status).toBe(303);
        expect(await Promise.all(Array.from({ length: 10 }, () => at.status(agent)))).toEqual(Array(10).fill(200));
      }
    },
  );

  it.each([
    ['begin'],
    ['begin isolation level repeatable read', 'select 1 from oauth_sessions'],
    ['begin', 'select 1 / 0'],
  ])('a connection that the application gave back after %j is none of ours', async (...left) => {
    await using at = await startLogin({ typeorm: { poolSize: 1 } });
    const pool = (at.app.app.get(DataSource).driver as unknown as { master: pg.Pool }).master;
    const leave = async (): Promise<void> => {
      const client = await pool.connect();
      for (const sql of left) await client.query(sql).catch(() => undefined);
      client.release();
    };
    await leave();
    const agent = at.agent();
    const url = await at.untilCallback(agent);
    expect(await at.count('oauth_states')).toBe(1);
    await leave();
    expect((await at.callback(agent, url)).status).toBe(303);
    await leave();
    expect(await at.status(agent)).toBe(200);
    await leave();
    await at.database.query('delete from oauth_sessions');
    expect(await at.status(agent)).toBe(401);
  });

  it('E-005 deadlocks and serialization failures are tried again, in bounds', async () => {
    const agent = at.agent();
    const trigger = async (code: string, times: number) =>
      at.database.query(`
        create sequence if not exists failures;
        select setval('failures', 1, false);
        create or replace function fail() returns trigger language plpgsql as $$
        begin
          if nextval('failures') <= ${times} then raise exception 'try again' using errcode = '${code}'; end if;
          return new;
        end $$;
        drop trigger if exists fail on oauth_sessions;
        create trigger fail before insert on oauth_sessions for each row execute function fail();`);
    for (const code of ['40001', '40P01']) {
      await trigger(code, 2);
      expect((await at.login(agent)).status).toBe(303);
    }
    await trigger('40001', 100);
    const sessions = await at.count('oauth_sessions');
    const answer = await at.login(agent);
    expect([answer.status, codeOf(answer)]).toEqual([503, 'database_unavailable']);
    await trigger('25006', 100);
    expect((await at.login(agent)).status).toBe(503);
    expect(await at.count('oauth_sessions')).toBe(sessions);
    await at.database.query('drop trigger fail on oauth_sessions');
    expect((await at.login(agent)).status).toBe(303);
  });

  it('C-004 the guard denies while the database is away', async () => {
    const agent = at.agent();
    await at.login(agent);
    await down();
    const answer = await agent.fetch(`${at.app.url}/me`);
    expect([answer.status, codeOf(answer)]).toEqual([503, 'database_unavailable']);
    await proxy.resume();
    expect(await at.status(agent)).toBe(200);
  });

  it('E-001 a database that is closed for maintenance is one that is away: 503, and it works on when it is opened again', async () => {
    const agent = at.agent();
    await at.login(agent);
    await onServer(
      `alter database ${at.database.name} allow_connections false`,
      `select pg_terminate_backend(pid) from pg_stat_activity where datname = '${at.database.name}'`,
    );
    try {
      const answers = [
        await agent.fetch(`${at.app.url}/me`),
        await at.agent().navigate(`${at.app.url}/auth/fake/login`, { followRedirects: false }),
      ];
      for (const answer of answers)
        expect([answer.status, codeOf(answer), answer.headers.has('retry-after')]).toEqual([
          503,
          'database_unavailable',
          true,
        ]);
    } finally {
      await onServer(`alter database ${at.database.name} allow_connections true`);
    }
    expect(await at.status(agent)).toBe(200);
  });
});

/** Runs statements at the server, from its maintenance database. */
async function onServer(...statements: string[]): Promise<void> {
  const client = new pg.Client({ connectionString: testServerUrl() });
  await client.connect();
  try {
    for (const sql of statements) await client.query(sql);
  } finally {
    await client.end();
  }
}

describe('an exhausted pool', () => {
  it('E-006 is waited for in bounds, answered with 503, and leaves no queue behind', async () => {
    await using failing = await startOnFailingDatabase({
      oauth: { databaseTimeout: 500 },
      typeorm: { extra: { max: 2 } },
    });
    const { at } = failing;
    const { master: pool } = at.app.app.get(DataSource).driver as unknown as {
      master: { connect(): Promise<{ release(): void }>; waitingCount: number };
    };
    const held = [await pool.connect(), await pool.connect()];
    const WAVE = 40;
    const refused: [AgentResponse, number][] = [];
    let longest = 0;
    try {
      for (let wave = 0; wave < 5; wave++) {
        const requests = Array.from({ length: WAVE }, () =>
          timed(at.agent().navigate(`${at.app.url}/auth/fake/login`, { followRedirects: false })),
        );
        refused.push(...(await Promise.all(requests)));
        longest = Math.max(longest, pool.waitingCount);
      }
    } finally {
      for (const client of held) client.release();
    }
    for (const [answer, took] of refused) {
      expect([answer.status, codeOf(answer)]).toEqual([503, 'database_unavailable']);
      expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0);
      expect(took).toBeLessThan(1_500);
    }
    expect(longest).toBeGreaterThan(0);
    // A few more than one wave: what runs behind (outbox, cleanup) waits, too.
    expect(longest).toBeLessThanOrEqual(WAVE + 5);
    expect((await at.login(at.agent())).status).toBe(303);
    expect(pool.waitingCount).toBe(0);
  });
});
