// Processes whose clocks are five minutes off, either way: what expires is judged by the clock of the database alone.
import { GrantProcess } from '../../support/grant-process.js';
import { type Grants, startGrants } from '../../support/grants.js';
import { withClockOff } from '../../support/skewed-clock.js';
import { UserAgent } from '../../support/user-agent.js';

const minutes = 60_000;
const clocks = [
  ['five minutes fast', 5 * minutes],
  ['five minutes slow', -5 * minutes],
] as const;

describe.each(clocks)('a clock that is %s', (_, off) => {
  let grants: Grants;

  beforeAll(async () => {
    grants = await startGrants();
  });
  afterAll(() => grants[Symbol.asyncDispose]());
  beforeEach(() => grants.provider.reset());

  /** Goes to the provider and comes back with the callback's URL. */
  async function untilCallback(agent: UserAgent): Promise<string> {
    const start = await agent.navigate(`${grants.app.url}/auth/fake/login?returnTo=/me`, { followRedirects: false });
    const back = await agent.navigate(start.headers.get('location')!, { followRedirects: false });
    return back.headers.get('location')!;
  }

  /** The same on a clock that is off, or on the right one. */
  const by = <T>(which: number, work: () => Promise<T>): Promise<T> =>
    which === 0 ? work() : withClockOff(which, work);

  it.each([
    ['begun and finished by it', off, off],
    ['begun by it, finished by the right one', off, 0],
    ['begun by the right one, finished by it', 0, off],
    ['begun by it, finished by one that is off the other way', off, -off],
  ])('E-010 a login %s succeeds', async (__, begins, finishes) => {
    // The provider of this test runs by the same clock and would take its own code for expired.
    grants.provider.configure({ codeLifetime: 3_600 });
    const agent = new UserAgent();
    const callback = await by(begins, () => untilCallback(agent));
    const page = await by(finishes, () => agent.navigate(callback));
    expect([page.status, page.url]).toEqual([200, `${grants.app.url}/me`]);
  });

  it('E-010 a pending login lives and dies by the database', async () => {
    grants.provider.configure({ codeLifetime: 3_600 });
    const agent = new UserAgent();
    const [alive, dead] = [await untilCallback(agent), await untilCallback(agent)];
    const set = (url: string, seconds: number) =>
      grants.database.query(
        `update oauth_states set expires_at = now() + make_interval(secs => $2) where state_hash = sha256(convert_to($1, 'UTF8'))`,
        [new URL(url).searchParams.get('state'), seconds],
      );
    await set(alive, 20);
    await set(dead, -1);
    expect((await by(off, () => agent.navigate(dead))).status).toBe(400);
    expect((await by(off, () => agent.navigate(alive))).status).toBe(200);
  });

  it.each(['idle_expires_at', 'expires_at'] as const)(
    'E-010 a session lives and dies by the database (%s)',
    async (column) => {
      const { agent, sessionId, grantId } = await by(off, () => grants.logIn());
      const me = async (): Promise<number> => (await by(off, () => agent.fetch(`${grants.app.url}/me`))).status;
      expect(await me()).toBe(200);
      const set = (seconds: number) =>
        grants.database.query(`update oauth_sessions set ${column} = now() + make_interval(secs => $2) where id = $1`, [
          sessionId,
          seconds,
        ]);
      await set(20);
      expect(await me()).toBe(200);
      await set(-1);
      expect(await me()).toBe(401);
      expect((await grants.grant(grantId)).status).toBe('active');
    },
  );

  it('E-010 an access token is fresh or not by the database, and says so by its clock', async () => {
    const { grantId } = await by(off, () => grants.logIn());
    const before = grants.provider.refreshCount;
    const set = (seconds: number) =>
      grants.database.query(
        `update oauth_access_tokens set issued_at = now() - interval '1 hour', refreshed_at = null, expires_at = now() + make_interval(secs => $2) where grant_id = $1`,
        [grantId, seconds],
      );
    // Past the share of its life at which it would be renewed behind, unless that is what is asked.
    await set(3_000);
    const token = await by(off, () => grants.tokens.getAccessToken(grantId));
    expect(grants.provider.refreshCount).toBe(before);
    expect(token.expiresAt!.getTime() - Date.now()).toBeGreaterThan(2_900_000);
    expect(token.expiresAt!.getTime() - Date.now()).toBeLessThan(3_100_000);
    await set(-1);
    const fresh = await by(off, () => grants.tokens.getAccessToken(grantId));
    expect(fresh.value).not.toBe(token.value);
    expect(fresh.expiresAt!.getTime() - Date.now()).toBeGreaterThan(3_500_000);
    expect(fresh.expiresAt!.getTime() - Date.now()).toBeLessThan(3_700_000);
    expect(grants.provider.refreshCount).toBe(before + 1);
  });

  it('E-010 a lease holds and ends by the database: a process with this clock waits for one with the right clock', async () => {
    const { grantId } = await grants.logIn();
    await grants.expire();
    await using other = await GrantProcess.start(grants);
    const before = grants.provider.refreshCount;
    const hold = grants.provider.hold('refresh');
    const theirs = other.token(grantId);
    await hold.arrived;
    const ours = by(off, () => grants.tokens.getAccessToken(grantId));
    // Long enough to take the lease, were it thought to be over.
    await new Promise((done) => setTimeout(done, 500));
    expect(grants.provider.requestsTo('refresh')).toHaveLength(1);
    hold.release();
    expect((await ours).value).toBe(await theirs);
    expect(grants.provider.refreshCount).toBe(before + 1);
    expect(grants.provider.counters.refreshReuses).toBe(0);
    // A lease that is over by the database is over, however early it seems here.
    await grants.expire();
    await grants.database.query(
      `update oauth_grants set lease_owner = gen_random_uuid(), lease_until = now() - interval '1 second' where id = $1`,
      [grantId],
    );
    expect((await by(off, () => grants.tokens.getAccessToken(grantId))).value).toBeTruthy();
    expect(grants.provider.refreshCount).toBe(before + 2);
  });
});
