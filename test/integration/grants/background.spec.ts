// Work without a request: the tokens of a user, grants kept alive while nobody asks, and the floor between refreshes.
import { setTimeout as sleep } from 'node:timers/promises';
import { OAuthError } from '../../../src/index.js';
import { type Grants, startGrants, until } from '../../support/grants.js';
import { seedGrants } from '../../support/seeded-grants.js';

describe('tokens.forUser', () => {
  it('serves jobs as long as the user is logged in somewhere, and is itself a reference', async () => {
    await using grants = await startGrants();
    const { agent, userId, grantId } = await grants.logIn();
    const second = await grants.logIn();
    const user = grants.tokens.forUser(userId, 'fake');
    expect(user).toMatchObject({ userId, provider: 'fake' });
    await grants.expire();
    const token = await user.getAccessToken();
    expect((await grants.tokens.getAccessToken(user)).value).toBe(token.value);
    expect((await grants.tokens.getAccessToken(grantId)).value).toBe(token.value);
    expect(await (await user.fetch(`${grants.provider.apiUrl}/me`)).json()).toMatchObject({ sub: 'user-1' });
    expect(grants.provider.counters.refreshes).toBe(1);
    // Another session of this user needs it still; without the last one it ends.
    await agent.fetch(`${grants.app.url}/auth/logout`, { method: 'POST' });
    expect((await user.getAccessToken()).value).toBe(token.value);
    await second.agent.fetch(`${grants.app.url}/auth/logout`, { method: 'POST' });
    await expect(user.getAccessToken()).rejects.toMatchObject({
      code: 'reauth_required',
      statusCode: 401,
      reconnectUrl: `${grants.app.url}/auth/fake/login`,
    });
    await expect(user.fetch(`${grants.provider.apiUrl}/me`)).rejects.toBeInstanceOf(OAuthError);
  });

  it('outlives the last session where the provider says keepGrant, and is never bound to one session', async () => {
    await using grants = await startGrants({ definition: { keepGrant: true } });
    const { agent, userId } = await grants.logIn();
    await agent.fetch(`${grants.app.url}/auth/logout`, { method: 'POST' });
    await grants.expire();
    expect((await grants.tokens.forUser(userId, 'fake').getAccessToken()).value).toBeTruthy();
    expect(grants.provider.revocations).toEqual([]);
    await using bound = await startGrants({ definition: { grant: 'session' } });
    const other = await bound.logIn();
    expect((await bound.tokens.getAccessToken(other.grantId)).value).toBeTruthy();
    await expect(bound.tokens.forUser(other.userId, 'fake').getAccessToken()).rejects.toMatchObject({
      code: 'reauth_required',
    });
  });

  it('knows neither strangers nor the user’s account elsewhere; of two accounts the one that works is taken', async () => {
    await using grants = await startGrants({ oauth: { onLogin: () => 'the-user' } });
    const first = await grants.logIn('user-1');
    const second = await grants.logIn('user-2');
    expect([first.userId, second.userId]).toEqual(['the-user', 'the-user']);
    for (const [userId, provider] of [
      ['somebody', 'fake'],
      ['the-user', 'other'],
      ['', 'fake'],
      ["' or 1=1 --", 'fake'],
    ] as const)
      await expect(grants.tokens.forUser(userId, provider).getAccessToken()).rejects.toMatchObject({
        code: 'reauth_required',
      });
    const user = grants.tokens.forUser('the-user', 'fake');
    const whose = async (): Promise<unknown> =>
      ((await (await user.fetch(`${grants.provider.apiUrl}/me`)).json()) as { sub: string }).sub;
    expect(await whose()).toBe('user-2');
    grants.provider.revokeUser('user-2');
    await grants.expire();
    await expect(user.getAccessToken()).rejects.toMatchObject({ code: 'reauth_required' });
    expect(await whose()).toBe('user-1');
  });
});

describe('keeping idle grants alive', () => {
  /** Seconds. */
  const keepAlive = 20;

  it('refreshes account-bound grants before their refresh tokens lapse: each once, one after the other, and no others', async () => {
    await using grants = await startGrants({ oauth: { refresh: { keepAlive } }, definition: { timeout: 20_000 } });
    await grants.another();
    const { provider, database } = grants;
    provider.tamper('tokenResponse', (body) => void (body.refresh_expires_in = 86_400));
    let [now, most] = [0, 0];
    provider.interpose('refresh', {
      before: () => void (most = Math.max(most, (now += 1))),
      after: () => void (now -= 1),
    });
    const idle = { lifetime: 100_000, refreshExpiresIn: 15 };
    const due = await seedGrants(grants, 12, idle);
    const endless = await seedGrants(grants, 2, { lifetime: 100_000 });
    const far = await seedGrants(grants, 2, { ...idle, refreshExpiresIn: 3_600 });
    const [inUse, ended, session] = [
      await seedGrants(grants, 1, idle),
      await seedGrants(grants, 1, idle),
      await seedGrants(grants, 1, idle),
    ];
    await database.query(`update oauth_access_tokens set refreshed_at = now() where grant_id = $1`, [inUse[0]!.id]);
    await database.query(`update oauth_grants set status = 'reauth_required' where id = $1`, [ended[0]!.id]);
    await database.query(`update oauth_grants set session_id = gen_random_uuid() where id = $1`, [session[0]!.id]);

    await until(() => provider.refreshCount >= 12, 14_000);
    await sleep(2_500);
    const kept = await database.query<{ id: string }>(
      `select id from oauth_grants where version > 1 and refresh_expires_at > now() + interval '1 hour'`,
    );
    expect(new Set(kept.map(({ id }) => id))).toEqual(new Set(due.map(({ id }) => id)));
    expect(provider.counters).toMatchObject({ refreshes: 12, refreshReuses: 0 });
    expect([endless.length, far.length]).toEqual([2, 2]);
    // One at a time in each of two processes, over the two seconds between two rounds.
    expect(most).toBeLessThanOrEqual(2);
    const times = provider.requestsTo('refresh').map(({ at }) => at);
    expect(Math.max(...times) - Math.min(...times)).toBeGreaterThan(400);
  });

  it('comes to a grant behind more that cannot be refreshed than it takes up in a round', async () => {
    await using grants = await startGrants({ oauth: { refresh: { keepAlive } } });
    const { provider, database } = grants;
    await seedGrants(grants, 110, { lifetime: 100_000, refreshExpiresIn: 15 });
    await database.query(`update oauth_grants set provider = 'gone'`);
    await seedGrants(grants, 1, { lifetime: 100_000, refreshExpiresIn: 18 });
    await until(() => provider.refreshCount >= 1, 12_000);
  });

  it('is off unless asked for', async () => {
    await using grants = await startGrants();
    await seedGrants(grants, 3, { lifetime: 100_000, refreshExpiresIn: 15 });
    await sleep(2_500);
    expect(grants.provider.refreshCount).toBe(0);
  });
});

describe('the floor', () => {
  let grants: Grants;

  beforeAll(async () => {
    grants = await startGrants();
    await grants.another();
  });
  afterAll(() => grants[Symbol.asyncDispose]());

  it.each([
    ...[0, -1, -1e9, -1e300, 0.5, 1, 1e300, 2 ** 63, 3599.9],
    ...['0', '-5', '1', '3600', 'abc', '', '1e3', ' 60', '١٢'],
    ...[null, undefined, true, false, {}, [], [3600]],
  ])('lies between two refreshes of one grant whatever expires_in says: %j', async (expiresIn) => {
    const { provider } = grants;
    provider.configure({ expiresIn: 3_600 });
    const { grantId } = await grants.logIn(`user-${JSON.stringify(expiresIn)}-${typeof expiresIn}`);
    provider.configure({ expiresIn, accessTokenLifetime: 3_600 });
    const before = provider.refreshCount;
    const values = new Set<string>();
    const round = async (): Promise<void> => {
      for (const { tokens } of grants.apps)
        for (const request of [{ forceRefresh: true }, {}, { minTtl: 100_000 }])
          values.add((await tokens.getAccessToken(grantId, request)).value);
    };
    await round();
    await round();
    expect([values.size, provider.refreshCount - before]).toEqual([1, 1]);
    await grants.database.query(
      `update oauth_access_tokens set refreshed_at = refreshed_at - interval '29 seconds', issued_at = issued_at - interval '29 seconds' where grant_id = $1`,
      [grantId],
    );
    await grants.tokens.getAccessToken(grantId, { forceRefresh: true });
    expect(provider.refreshCount - before).toBe(1);
    await grants.database.query(
      `update oauth_access_tokens set refreshed_at = refreshed_at - interval '2 seconds', issued_at = issued_at - interval '2 seconds' where grant_id = $1`,
      [grantId],
    );
    await round();
    expect([values.size, provider.refreshCount - before]).toEqual([2, 2]);
    const [row] = await grants.database.query<{ odd: boolean }>(
      `select coalesce(not isfinite(expires_at), false) as odd from oauth_access_tokens where grant_id = $1`,
      [grantId],
    );
    expect(row!.odd).toBe(false);
  });
});
