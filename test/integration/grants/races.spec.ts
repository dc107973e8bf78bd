// A refresh that meets something else: a logout, a new login, and callers who want another kind of token.
import { SessionService } from '../../../src/index.js';
import { type Grants, startGrants, until } from '../../support/grants.js';

describe('a refresh meets', () => {
  let grants: Grants;

  afterEach(() => grants[Symbol.asyncDispose]());

  it.each([
    ['account', 'before'],
    ['account', 'after'],
    ['session', 'before'],
    ['session', 'after'],
  ] as const)(
    'E-041 a logout (grant of the %s, %s the provider rotates): logout wins, no row comes back, the late token is revoked',
    async (bound, at) => {
      // Revoking one token ends that one alone: what came late has to be revoked by itself.
      grants = await startGrants({ definition: { grant: bound }, provider: { revocationScope: 'token' } });
      const other = await grants.another();
      const { grantId, agent, userId, sessionId } = await grants.logIn();
      await grants.expire();
      const hold = grants.provider.hold('refresh', at);
      const callers = [grants.tokens, other.tokens, other.tokens].map((tokens) =>
        tokens.getAccessToken(grantId).then(
          () => 'a token',
          (error: { code: string }) => error.code,
        ),
      );
      await hold.arrived;
      expect((await agent.fetch(`${grants.app.url}/auth/logout`, { method: 'POST' })).status).toBe(200);
      hold.release();
      expect(new Set(await Promise.all(callers))).toEqual(new Set(['reauth_required']));
      expect(grants.provider.counters.refreshes).toBe(1);
      expect(await grants.grant(grantId)).toMatchObject({ status: 'revoked', refresh_token: null, lease_owner: null });
      expect(await grants.database.query('select 1 from oauth_access_tokens')).toEqual([]);
      expect(await grants.database.query('select 1 from oauth_sessions')).toEqual([]);
      expect(await other.app.get(SessionService).find(sessionId)).toBeNull();
      await expect(grants.tokens.getAccessToken({ userId, provider: 'fake' })).rejects.toMatchObject({
        code: 'reauth_required',
      });
      await until(() =>
        grants.provider.issued.every(({ kind, value }) => kind !== 'refreshToken' || !grants.provider.isActive(value)),
      );
      expect(grants.provider.issued.filter(({ kind }) => kind === 'refreshToken')).toHaveLength(2);
      expect(grants.seen('reauthRequired')).toEqual([]);
    },
  );

  it.each(['before', 'after'] as const)(
    'E-043 a new login of the same account (%s the provider rotates): the newer grant wins, the late answer overwrites nothing',
    async (at) => {
      grants = await startGrants();
      const { grantId, userId } = await grants.logIn();
      await grants.expire();
      const hold = grants.provider.hold('refresh', at);
      const late = grants.tokens.getAccessToken(grantId);
      await hold.arrived;
      const second = await grants.logIn();
      expect(second.grantId).toBe(grantId);
      const ofLogin = grants.provider.issued.filter(({ grant }) => grant === 2);
      const before = await grants.grant(grantId);
      hold.release();
      // The caller gets what is stored now: the token of the new login.
      expect((await late).value).toBe(ofLogin.find(({ kind }) => kind === 'accessToken')!.value);
      const after = await grants.grant(grantId);
      expect([after.refresh_token, after.version]).toEqual([before.refresh_token, before.version]);
      // The next refresh sends the refresh token of the new login, and the late one goes to the outbox.
      await grants.expire();
      grants.provider.clearRequests();
      expect((await grants.tokens.getAccessToken({ userId, provider: 'fake' })).value).toBeTruthy();
      const [refresh] = grants.provider.requestsTo('refresh');
      expect(refresh!.form.get('refresh_token')).toBe(ofLogin.find(({ kind }) => kind === 'refreshToken')!.value);
      expect(grants.provider.counters).toMatchObject({ refreshReuses: 0, familiesRevoked: 0 });
      expect(await grants.database.query('select 1 from oauth_revocations')).toHaveLength(1);
    },
  );

  it('E-043 a new login while the old refresh token is refused: nobody is sent to connect again', async () => {
    grants = await startGrants();
    const { grantId } = await grants.logIn();
    await grants.expire();
    const stop = grants.provider.interpose('refresh', {
      before: async () => {
        stop();
        grants.provider.revokeUser('user-1');
        await grants.logIn();
      },
    });
    expect((await grants.tokens.getAccessToken(grantId)).value).toBeTruthy();
    expect(await grants.grant(grantId)).toMatchObject({ status: 'active' });
    expect(grants.seen('reauthRequired')).toEqual([]);
  });

  it('E-048 callers with other wishes: everybody gets a token for their own resource and scope, one refresh for each wish', async () => {
    grants = await startGrants({ definition: { scope: ['mail.read', 'mail.write'] } });
    const other = await grants.another();
    const { grantId } = await grants.logIn();
    await grants.expire();
    grants.provider.fault('refresh', { kind: 'latency', ms: [20, 80] });
    const wishes = [
      {},
      { resource: 'https://one.example' },
      { resource: 'https://two.example' },
      { scope: ['mail.read'] },
      { scope: ['openid', 'mail.read'] },
      { scope: ['mail.read', 'openid'] },
      { resource: 'https://one.example', scope: ['mail.read'] },
    ];
    const calls = Array.from({ length: 10 }, () =>
      wishes.flatMap((wish) =>
        [grants.tokens, other.tokens].map(async (tokens) => ({
          wish,
          token: await tokens.getAccessToken(grantId, wish),
        })),
      ),
    ).flat();
    const byWish = new Map<string, Set<string>>();
    for (const { wish, token } of await Promise.all(calls)) {
      const name = JSON.stringify([wish.resource, [...(wish.scope ?? [])].sort()]);
      byWish.set(name, (byWish.get(name) ?? new Set()).add(token.value));
      const answer = await fetch(`${grants.provider.apiUrl}/me`, {
        headers: { authorization: `Bearer ${token.value}` },
      });
      expect(await answer.json()).toMatchObject({
        resources: wish.resource === undefined ? [] : [wish.resource],
        scope:
          (wish.scope ?? ['openid', 'mail.read', 'mail.write']).length === 3
            ? expect.stringContaining('mail.write')
            : expect.not.stringContaining('mail.write'),
      });
      expect([...token.scope].sort()).toEqual([...(wish.scope ?? ['mail.read', 'mail.write', 'openid'])].sort());
    }
    expect([...byWish.values()].map((values) => values.size)).toEqual([1, 1, 1, 1, 1, 1]);
    expect(new Set([...byWish.values()].flatMap((values) => [...values])).size).toBe(6);
    expect(grants.provider.counters).toMatchObject({ refreshes: 6, refreshReuses: 0, familiesRevoked: 0 });
    // A narrower token never becomes the scope of the grant.
    expect((await grants.grant(grantId)).scope).toEqual(expect.arrayContaining(['mail.read', 'mail.write']));
  });
});
