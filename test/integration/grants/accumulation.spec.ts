// What a later login of the same account does to the grant that is there: nothing that the user allowed is lost.
import { setTimeout as sleep } from 'node:timers/promises';
import { type KeyRing, LocalKeyRing, Rekeyer, SessionService } from '../../../src/index.js';
import { oidcOf, startApp, TEST_KEY } from '../../support/app.js';
import { type Grants, type GrantsOptions, startGrants, until } from '../../support/grants.js';
import { UserAgent } from '../../support/user-agent.js';

/** What is stored for the account itself, in clear where it is not sealed. */
async function accountGrant(grants: Grants): Promise<Record<string, unknown>> {
  const rows = await grants.database.query('select * from oauth_grants where session_id is null');
  expect(rows).toHaveLength(1);
  return rows[0]!;
}

/** Scope of the browser's session. */
async function sessionScope(grants: Grants, agent: UserAgent): Promise<string[]> {
  const answer = await agent.fetch(`${grants.app.url}/auth/session`);
  return [...answer.json<{ scope: string[] }>().scope].sort();
}

describe('a later login of the same account', () => {
  it('with a wider scope replaces the grant; with a narrower one the wider stays', async () => {
    await using grants = await startGrants();
    grants.provider.configure({ scope: 'openid mail' });
    const { userId } = await grants.logIn();
    grants.provider.configure({ scope: 'openid mail files' });
    const wider = await grants.logIn();
    const stored = await accountGrant(grants);
    expect(stored).toMatchObject({ version: 2, scope: ['openid', 'mail', 'files'] });
    grants.provider.configure({ scope: 'openid' });
    const narrower = await grants.logIn();
    expect(await accountGrant(grants)).toMatchObject({ version: 2, refresh_token: stored.refresh_token });
    for (const { agent } of [wider, narrower])
      expect(await sessionScope(grants, agent)).toEqual(['files', 'mail', 'openid']);
    grants.provider.configure({ scope: undefined });
    await grants.expire();
    const token = await grants.tokens.forUser(userId, 'fake').getAccessToken();
    expect(grants.provider.counters).toMatchObject({ refreshes: 1, refreshReuses: 0 });
    expect(token.scope).toContain('openid');
  });

  it('with another scope loses nothing: it is the grant of its session, and the stored one goes on serving jobs', async () => {
    await using grants = await startGrants();
    grants.provider.configure({ scope: 'openid mail' });
    const first = await grants.logIn();
    const before = await accountGrant(grants);
    grants.provider.configure({ scope: 'openid files' });
    const second = await grants.logIn();
    expect(second.grantId).not.toBe(first.grantId);
    expect(await accountGrant(grants)).toEqual(before);
    expect(await sessionScope(grants, first.agent)).toEqual(['mail', 'openid']);
    expect(await sessionScope(grants, second.agent)).toEqual(['files', 'openid']);

    grants.provider.configure({ scope: (asked) => asked });
    await grants.expire();
    // Both refresh tokens are in use, each for its own.
    for (const grantId of [first.grantId, second.grantId])
      expect((await grants.tokens.getAccessToken(grantId)).value).toBeTruthy();
    expect((await grants.tokens.forUser(first.userId, 'fake').getAccessToken()).value).toBe(
      (await grants.tokens.getAccessToken(first.grantId)).value,
    );
    expect(grants.provider.counters).toMatchObject({ refreshes: 2, refreshReuses: 0, familiesRevoked: 0 });

    // The session's own grant ends with it, the account's does not.
    await second.agent.fetch(`${grants.app.url}/auth/logout`, { method: 'POST' });
    expect(await grants.grant(second.grantId)).toMatchObject({ status: 'revoked' });
    expect(await accountGrant(grants)).toMatchObject({ status: 'active' });
  });

  it('with another scope holds no transaction while a slow key ring seals for it', async () => {
    const seen: unknown[] = [];
    let watched = false;
    const local = new LocalKeyRing([{ id: 'test', bytes: Buffer.from(TEST_KEY, 'base64url') }]);
    const keyRing: KeyRing = {
      currentKeyId: local.currentKeyId,
      keyIds: local.keyIds,
      wrap: async (contentKey) => {
        await sleep(20);
        if (watched) seen.push(...(await openTransactions()));
        return local.wrap(contentKey);
      },
      unwrap: (keyId, encryptedKey) => local.unwrap(keyId, encryptedKey),
    };
    await using grants = await startGrants({ oauth: { encryption: { keyRing } } });
    const openTransactions = () =>
      grants.database.query(
        `select state from pg_stat_activity where datname = current_database() and state like 'idle in transaction%'`,
      );
    grants.provider.configure({ scope: 'openid mail' });
    const first = await grants.logIn();
    grants.provider.configure({ scope: 'openid files' });
    watched = true;
    const second = await grants.logIn();
    expect(second.grantId).not.toBe(first.grantId);
    expect(seen).toEqual([]);
  });

  describe('with another scope in the same browser, whose first session it replaces', () => {
    /** @returns the account's grant, which no session uses any more, and the session's own */
    async function twoGrants(options: GrantsOptions = {}, scope = 'openid mail') {
      const grants = await startGrants(options);
      grants.provider.configure({ scope });
      const first = await grants.logIn();
      grants.provider.configure({ scope: 'openid files' });
      const second = await grants.logIn('user-1', first.agent);
      const { sid } = grants.provider.logins.at(-1)!;
      expect(second.grantId).not.toBe(first.grantId);
      expect(await grants.grant(first.grantId)).toMatchObject({ status: 'active', session_id: null });
      const statuses = async () =>
        Promise.all([first, second].map(async ({ grantId }) => (await grants.grant(grantId)).status));
      return { grants, first, second, sid, statuses };
    }
    type Two = Awaited<ReturnType<typeof twoGrants>>;

    const ends: [string, (two: Two) => Promise<unknown>][] = [
      [
        'a logout',
        async ({ grants, second }) => second.agent.fetch(`${grants.app.url}/auth/logout`, { method: 'POST' }),
      ],
      [
        'a back-channel logout',
        async ({ grants, sid }) =>
          grants.provider.sendBackchannelLogout(`${grants.app.url}/auth/fake/backchannel-logout`, {
            sid,
            sub: undefined,
          }),
      ],
      [
        'the application',
        async ({ grants, second }) => grants.app.app.get(SessionService).end(second.userId, second.sessionId),
      ],
    ];

    it.each(ends)('A-068 %s that ends the last session ends and revokes both', async (_by, end) => {
      const two = await twoGrants();
      await using grants = two.grants;
      await end(two);
      expect(await two.statuses()).toEqual(['revoked', 'revoked']);
      await until(() => grants.provider.revocations.length > 0);
      await until(async () => (await grants.database.query('select 1 from oauth_revocations')).length === 0);
      for (const { value } of grants.provider.issued.filter(({ kind }) => kind === 'refreshToken'))
        expect(grants.provider.isActive(value)).toBe(false);
      const refused = grants.tokens.forUser(two.first.userId, 'fake').getAccessToken();
      await expect(refused).rejects.toMatchObject({ code: 'reauth_required' });
    });

    it.each(ends)('A-068 %s ends the own one alone while another session of the account lives', async (_by, end) => {
      const two = await twoGrants();
      await using grants = two.grants;
      grants.provider.configure({ scope: 'openid calendar' });
      const other = await grants.logIn();
      await end(two);
      expect(await two.statuses()).toEqual(['active', 'revoked']);
      expect(await grants.grant(other.grantId)).toMatchObject({ status: 'active' });
    });

    it.each(ends)("A-068 %s leaves the account's grant where keepGrant says so", async (_by, end) => {
      const two = await twoGrants({ definition: { keepGrant: true } });
      await using grants = two.grants;
      await end(two);
      expect(await two.statuses()).toEqual(['active', 'revoked']);
      expect((await grants.tokens.forUser(two.first.userId, 'fake').getAccessToken()).value).toBeTruthy();
    });

    it('A-108 a back-channel logout leaves the one with offline_access', async () => {
      const two = await twoGrants({}, 'openid mail offline_access');
      await using grants = two.grants;
      await ends[1]![1](two);
      expect(await two.statuses()).toEqual(['active', 'revoked']);
      expect(grants.seen('logout')).toHaveLength(2);
    });
  });

  it('with all of both scopes makes one grant of them', async () => {
    await using grants = await startGrants();
    grants.provider.configure({ scope: 'openid mail' });
    const { agent } = await grants.logIn();
    grants.provider.configure({ scope: 'openid files' });
    const apart = await grants.logIn('user-1', agent);
    grants.provider.configure({ scope: 'openid files mail' });
    const { grantId } = await grants.logIn('user-1', agent);
    expect(await accountGrant(grants)).toMatchObject({ id: grantId, version: 2, scope: ['openid', 'files', 'mail'] });
    // The session that had a grant of its own was replaced; that grant has no more use.
    expect(await grants.grant(apart.grantId)).toMatchObject({ status: 'revoked', refresh_token: null });
    expect(await sessionScope(grants, agent)).toEqual(['files', 'mail', 'openid']);
  });

  it('E-024 without a refresh token keeps the stored one, and adds a scope that it brings', async () => {
    await using grants = await startGrants();
    grants.provider.configure({ scope: 'openid mail' });
    const { sessionId, agent } = await grants.logIn();
    const before = await accountGrant(grants);
    await grants.tokens.getAccessToken(before.id as string);
    grants.provider.configure({ scope: 'openid mail files', issueRefreshToken: false });
    const later = await grants.logIn();
    expect(await accountGrant(grants)).toMatchObject({ refresh_token: before.refresh_token, version: 1 });
    for (const browser of [agent, later.agent])
      expect(await sessionScope(grants, browser)).toEqual(['files', 'mail', 'openid']);
    const session = (await grants.app.app.get(SessionService).find(sessionId))!;
    expect((await grants.tokens.getAccessToken(session)).scope).toContain('files');
    await grants.expire();
    expect((await grants.tokens.getAccessToken(before.id as string)).value).toBeTruthy();
    expect(grants.provider.counters).toMatchObject({ refreshes: 1, refreshReuses: 0 });
  });

  it('replaces a refresh token that has lapsed, however wide its scope', async () => {
    await using grants = await startGrants();
    grants.provider.configure({ scope: 'openid mail' });
    await grants.logIn();
    await grants.database.query(`update oauth_grants set refresh_expires_at = now() - interval '1 second'`);
    grants.provider.configure({ scope: 'openid' });
    await grants.logIn();
    expect(await accountGrant(grants)).toMatchObject({ version: 2, scope: ['openid'], refresh_expires_at: null });
  });

  describe('and access tokens for other scopes and resources, made from the stored refresh token', () => {
    const RESOURCE = { resource: 'https://api.example.com' };

    /** Audiences of the stored access tokens. */
    async function audiences(grants: Grants): Promise<unknown[]> {
      const rows = await grants.database.query('select audience from oauth_access_tokens order by audience');
      return rows.map(({ audience }) => audience);
    }

    it('ends them with what allowed them: consent withdrawn, and given again to less', async () => {
      await using grants = await startGrants();
      const { grantId, agent } = await grants.logIn();
      const wide = await grants.tokens.getAccessToken(grantId, { scope: ['email'] });
      expect(wide.scope).toEqual(['email']);
      grants.provider.fault('refresh', { kind: 'oauthError', error: 'invalid_grant', times: 1 });
      await grants.database.query(`update oauth_access_tokens set refreshed_at = null`);
      const refused = grants.tokens.getAccessToken(grantId, { forceRefresh: true });
      await expect(refused).rejects.toMatchObject({ code: 'reauth_required' });

      grants.provider.configure({ scope: 'openid profile' });
      await grants.logIn('user-1', agent);
      expect(await accountGrant(grants)).toMatchObject({ id: grantId, status: 'active', scope: ['openid', 'profile'] });
      expect(await audiences(grants)).toEqual(['']);
      const now = await grants.tokens.getAccessToken(grantId, { scope: ['email'] });
      expect(now.value).not.toBe(wide.value);
      expect(now.scope).toEqual(['openid', 'profile']);
    });

    it('ends those of another registration at the same issuer, which nobody could open any more', async () => {
      await using grants = await startGrants();
      const { grantId } = await grants.logIn();
      await grants.tokens.getAccessToken(grantId, RESOURCE);
      await using other = await startApp({
        database: grants.database.url,
        providers: [oidcOf(grants.provider, { name: 'other' })],
      });
      expect((await new UserAgent().navigate(`${other.url}/auth/other/login?returnTo=/me`)).status).toBe(200);
      expect(await accountGrant(grants)).toMatchObject({ id: grantId, provider: 'other' });
      expect((await other.tokens.getAccessToken(grantId, RESOURCE)).value).toBeTruthy();
    });

    it('keeps them with the stored refresh token', async () => {
      await using grants = await startGrants();
      const { grantId } = await grants.logIn();
      const before = await grants.tokens.getAccessToken(grantId, RESOURCE);
      grants.provider.configure({ issueRefreshToken: false });
      await grants.logIn();
      expect((await grants.tokens.getAccessToken(grantId, RESOURCE)).value).toBe(before.value);
      expect(await audiences(grants)).toHaveLength(2);
    });
  });
});

describe('with DPoP, at a public client, where the refresh token is bound to the key of its login (RFC 9449 §5)', () => {
  const PUBLIC = {
    definition: { dpop: true, clientSecret: undefined as never, clientAuthentication: 'none' as const },
    provider: { clients: [{ clientId: 'client' }] },
  };

  it('E-024 a later login without a refresh token keeps the stored one with its key, and uses its own token with its own', async () => {
    await using grants = await startGrants(PUBLIC);
    const first = await grants.logIn();
    const before = await accountGrant(grants);
    grants.provider.configure({ issueRefreshToken: false });
    const later = await grants.logIn();
    expect(await accountGrant(grants)).toMatchObject({
      refresh_token: before.refresh_token, dpop_key: before.dpop_key, version: 1,
    }); // prettier-ignore
    const keys = grants.provider.requestsTo('authorize').map(({ query }) => query.get('dpop_jkt'));
    grants.provider.clearRequests();
    for (const { agent } of [first, later])
      expect((await agent.fetch(`${grants.app.url}/me/api`)).json()).toMatchObject({ status: 200 });
    expect(grants.provider.requestsTo('api').map(({ dpop }) => dpop!.jkt)).toEqual([keys[1], keys[1]]);

    await grants.expire();
    grants.provider.clearRequests();
    for (const { agent } of [first, later])
      expect((await agent.fetch(`${grants.app.url}/me/api`)).json()).toMatchObject({ status: 200 });
    const sent = [...grants.provider.requestsTo('token'), ...grants.provider.requestsTo('api')];
    expect(sent.map(({ dpop }) => dpop!.jkt)).toEqual([keys[0], keys[0], keys[0]]);
    const [row] = await grants.database.query('select dpop_key from oauth_access_tokens');
    expect(row).toEqual({ dpop_key: null });
  });

  it('a later login with a refresh token ends the access tokens for other resources, which are bound to the key before', async () => {
    await using grants = await startGrants(PUBLIC);
    const { grantId } = await grants.logIn();
    const wish = { resource: 'https://api.example.com' };
    await grants.tokens.getAccessToken(grantId, wish);
    await grants.logIn();
    grants.provider.clearRequests();
    expect((await grants.tokens.fetch(grantId, `${grants.provider.apiUrl}/me`, wish)).status).toBe(200);
    expect(grants.provider.requestsTo('api')).toHaveLength(1);
  });

  it('the key of such a token is sealed anew like all others', async () => {
    await using grants = await startGrants(PUBLIC);
    await grants.logIn();
    grants.provider.configure({ issueRefreshToken: false });
    await grants.logIn();
    const [old] = await grants.database.query('select dpop_key from oauth_access_tokens');
    expect(old!.dpop_key).toMatch(/^ey/);
    const next = { id: 'next', secret: 'bmV4dC1rZXktbmV4dC1rZXktbmV4dC1rZXktMTIzNDU' };
    const other = await grants.another({ encryption: { keys: [next, { id: 'test', secret: TEST_KEY }] } });
    await other.app.get(Rekeyer).rekey();
    const [row] = await grants.database.query('select dpop_key from oauth_access_tokens');
    expect(Buffer.from(String(row!.dpop_key).split('.')[0]!, 'base64url').toString()).toContain('"next"');
    const [grant] = await grants.database.query<{ id: string }>('select id from oauth_grants');
    expect((await other.tokens.fetch(grant!.id, `${grants.provider.apiUrl}/me`)).status).toBe(200);
  });
});
