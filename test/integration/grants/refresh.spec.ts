// How one refresh ends: the failure table of docs/refresh.md, line by line.
import { setTimeout as sleep } from 'node:timers/promises';
import { OAuthError } from '../../../src/index.js';
import { oidcOf } from '../../support/app.js';
import { type Grants, startGrants, until } from '../../support/grants.js';

/** The error that a promise ends with. */
async function failureOf(promise: Promise<unknown>): Promise<OAuthError> {
  return promise.then(
    () => {
      throw new Error('it succeeded');
    },
    (error: unknown) => {
      expect(error).toBeInstanceOf(OAuthError);
      return error as OAuthError;
    },
  );
}

describe('a refresh', () => {
  let grants: Grants;

  beforeEach(async () => {
    grants = await startGrants();
  });
  afterEach(() => grants[Symbol.asyncDispose]());

  it('A-039 replaces the refresh token: the next refresh sends the new one, the old ciphertext is gone', async () => {
    const { grantId } = await grants.logIn();
    const before = await grants.grant(grantId);
    await grants.expire();
    const first = await grants.tokens.getAccessToken(grantId);
    const between = await grants.grant(grantId);
    expect(between.refresh_token).not.toBe(before.refresh_token);
    expect(between.version).toBe((before.version as number) + 1);
    await grants.expire();
    const second = await grants.tokens.getAccessToken(grantId);
    expect(second.value).not.toBe(first.value);
    expect(grants.provider.counters).toMatchObject({ refreshes: 2, refreshReuses: 0, familiesRevoked: 0 });
    expect(grants.seen('refreshed')).toHaveLength(2);
    expect(grants.seen('refreshed')[0]).toMatchObject({ provider: 'fake', grantId, rotated: true });
  });

  it('E-029 A-118 believes invalid_grant once: reauth_required with the way back, one event, no further call, the session lives', async () => {
    const { grantId, agent } = await grants.logIn();
    grants.provider.revokeUser('user-1');
    await grants.expire();
    const error = await failureOf(grants.tokens.getAccessToken(grantId));
    expect(error).toMatchObject({ code: 'reauth_required', statusCode: 401, provider: 'fake' });
    expect(error.reconnectUrl).toBe(`${grants.app.url}/auth/fake/login`);
    const calls = grants.provider.requests.length;
    await failureOf(grants.tokens.getAccessToken(grantId));
    await failureOf(grants.tokens.getAccessToken(grantId, { forceRefresh: true }));
    expect(grants.provider.requests).toHaveLength(calls);
    expect(grants.seen('reauthRequired')).toEqual([expect.objectContaining({ grantId, reason: 'invalid_grant' })]);
    expect((await agent.fetch(`${grants.app.url}/me`)).status).toBe(200);
    const answer = await agent.fetch(`${grants.app.url}/me/api`);
    expect([answer.status, JSON.parse(answer.body)]).toEqual([
      401,
      expect.objectContaining({ code: 'reauth_required', reconnectUrl: `${grants.app.url}/auth/fake/login` }),
    ]);
  });

  it('E-029 re-reads before it believes: when the version moved, the newer token is served', async () => {
    const { grantId } = await grants.logIn();
    await grants.expire();
    grants.provider.fault('refresh', { kind: 'oauthError', error: 'invalid_grant', times: 1 });
    const stop = grants.provider.interpose('refresh', {
      before: async () => {
        // Somebody else's refresh, carried out rightfully: the version moves, and a new token is stored.
        await grants.database.query(
          `update oauth_grants set version = version + 1, lease_owner = null, lease_until = null, refresh_sent_at = null where id = $1`,
          [grantId],
        );
        await grants.database.query(
          `update oauth_access_tokens set issued_at = now(), expires_at = now() + interval '1 hour' where grant_id = $1`,
          [grantId],
        );
      },
    });
    expect((await grants.tokens.getAccessToken(grantId)).value).toBeTruthy();
    stop();
    expect((await grants.grant(grantId)).status).toBe('active');
    expect(grants.seen('reauthRequired')).toEqual([]);
  });

  it('D-032 ends cleanly when an older refresh token was put back', async () => {
    const { grantId } = await grants.logIn();
    const { refresh_token: old } = await grants.grant(grantId);
    await grants.expire();
    await grants.tokens.getAccessToken(grantId);
    await grants.database.query('update oauth_grants set refresh_token = $2 where id = $1', [grantId, old]);
    await grants.expire();
    expect((await failureOf(grants.tokens.getAccessToken(grantId))).code).toBe('reauth_required');
    const calls = grants.provider.requests.length;
    expect((await failureOf(grants.tokens.getAccessToken(grantId))).code).toBe('reauth_required');
    expect(grants.provider.requests).toHaveLength(calls);
  });

  it('E-030 blames invalid_client on the operator: grants kept, nobody logged out, breaker open, one alarm', async () => {
    const one = await grants.logIn('user-1');
    const two = await grants.logIn('user-2');
    const fault = grants.provider.fault('refresh', { kind: 'oauthError', error: 'invalid_client', status: 401 });
    await grants.expire();
    expect(await failureOf(grants.tokens.getAccessToken(one.grantId))).toMatchObject({
      code: 'client_rejected',
      statusCode: 502,
    });
    for (const { grantId } of [one, two])
      expect((await failureOf(grants.tokens.getAccessToken(grantId))).code).toBe('client_rejected');
    expect(fault.hits).toBe(1);
    expect(grants.seen('alarm')).toEqual([expect.objectContaining({ code: 'client_rejected', provider: 'fake' })]);
    expect(grants.seen('providerUnavailable')).toHaveLength(1);
    for (const { grantId } of [one, two]) expect((await grants.grant(grantId)).status).toBe('active');
    expect((await one.agent.fetch(`${grants.app.url}/me`)).status).toBe(200);
  });

  it.each([
    ['invalid_client', 'client_rejected', 'active'],
    ['invalid_grant', 'reauth_required', 'reauth_required'],
  ])('E-030 hears %s also where the header names a challenge (RFC 6749 §5.2)', async (error, code, status) => {
    const { grantId } = await grants.logIn();
    grants.provider.fault('refresh', {
      kind: 'status',
      status: 401,
      contentType: 'application/json',
      headers: { 'www-authenticate': 'Basic realm="tokens"' },
      body: JSON.stringify({ error }),
    });
    await grants.expire();
    expect((await failureOf(grants.tokens.getAccessToken(grantId))).code).toBe(code);
    expect((await grants.grant(grantId)).status).toBe(status);
  });

  it('E-014 E-031 keeps the refresh token through 5xx and 429, waits as told, and serves a token that is still valid', async () => {
    const { grantId } = await grants.logIn();
    grants.provider.fault('refresh', { kind: 'status', status: 500, times: 1 });
    const valid = await grants.tokens.getAccessToken(grantId, { forceRefresh: true });
    expect(valid.value).toBeTruthy();
    await grants.expire();
    const fault = grants.provider.fault('refresh', { kind: 'status', status: 429, retryAfter: 2, times: 1 });
    expect(await failureOf(grants.tokens.getAccessToken(grantId))).toMatchObject({
      code: 'provider_unavailable',
      retryAfter: 2,
    });
    expect(await failureOf(grants.tokens.getAccessToken(grantId))).toMatchObject({
      code: 'provider_unavailable',
      statusCode: 503,
    });
    expect(fault.hits).toBe(1);
    await sleep(2_100);
    expect((await grants.tokens.getAccessToken(grantId)).value).toBeTruthy();
    expect(grants.provider.counters).toMatchObject({ refreshes: 1, refreshReuses: 0 });
  });

  it('never condemns a grant for passing 5xx answers, however many', async () => {
    const { grantId } = await grants.logIn();
    await grants.expire();
    const fault = grants.provider.fault('refresh', { kind: 'status', status: 502, times: 4 });
    for (let attempt = 0; attempt < 4; attempt++) await failureOf(grants.tokens.getAccessToken(grantId));
    expect(fault.hits).toBe(4);
    expect((await grants.tokens.getAccessToken(grantId)).value).toBeTruthy();
  });

  it('opens a breaker after repeated failures, tries again by itself, and says both once', async () => {
    const { grantId } = await grants.logIn();
    await grants.expire();
    const fault = grants.provider.fault('refresh', { kind: 'status', status: 503 });
    for (let attempt = 0; attempt < 8; attempt++) await failureOf(grants.tokens.getAccessToken(grantId));
    expect(fault.hits).toBe(5);
    expect(grants.seen('providerUnavailable')).toHaveLength(1);
    fault.clear();
    await until(() =>
      grants.tokens.getAccessToken(grantId).then(
        () => true,
        () => false,
      ),
    );
    expect(grants.seen('providerRecovered')).toHaveLength(1);
    expect(grants.provider.counters.refreshes).toBe(1);
  });

  it('tries again by itself also when the trial was answered about somebody else', async () => {
    const [first, second] = [await grants.logIn('user-1'), await grants.logIn('user-2')];
    await grants.expire();
    const fault = grants.provider.fault('refresh', { kind: 'status', status: 503 });
    for (let attempt = 0; attempt < 5; attempt++) await failureOf(grants.tokens.getAccessToken(first.grantId));
    expect(grants.seen('providerUnavailable')).toHaveLength(1);
    fault.clear();
    grants.provider.tamper('idToken', (claims) => void (claims.sub = 'somebody-else'), { times: 1 });
    await until(async () => (await failureOf(grants.tokens.getAccessToken(first.grantId))).code === 'reauth_required');
    expect((await grants.tokens.getAccessToken(second.grantId)).value).toBeTruthy();
    expect(grants.seen('providerRecovered')).toHaveLength(1);
  });

  it('E-040 retries once after a lost answer, after the lease, then says reauth_required', async () => {
    const { grantId } = await grants.logIn();
    await grants.expire();
    const fault = grants.provider.fault('refresh', { kind: 'lostAnswer' });
    expect((await failureOf(grants.tokens.getAccessToken(grantId))).code).toBe('provider_unavailable');
    // Until the lease has ended nobody sends it again.
    expect((await failureOf(grants.tokens.getAccessToken(grantId))).code).toBe('provider_unavailable');
    expect(fault.hits).toBe(1);
    await grants.endLeases();
    expect((await failureOf(grants.tokens.getAccessToken(grantId))).code).toBe('provider_unavailable');
    await grants.endLeases();
    expect((await failureOf(grants.tokens.getAccessToken(grantId))).code).toBe('reauth_required');
    expect(fault.hits).toBe(2);
    expect(grants.seen('reauthRequired')).toEqual([expect.objectContaining({ reason: 'lost_answer' })]);
  });

  it('E-040 loses no answer where nothing was asked: a mistake of ours before the request keeps the grant', async () => {
    let broken = false;
    const tokenParams = (): Record<string, string> => {
      if (broken) throw new Error('a strategy of the application failed');
      return {};
    };
    await grants.apps.shift()!.close();
    await grants.another({ providers: [{ ...oidcOf(grants.provider), quirks: { tokenParams } }] });
    const { grantId } = await grants.logIn();
    await grants.expire();
    broken = true;
    for (let attempt = 0; attempt < 3; attempt++) {
      expect((await failureOf(grants.tokens.getAccessToken(grantId))).statusCode).toBe(502);
      expect(await grants.grant(grantId)).toMatchObject({ status: 'active', lost_answers: 0, refresh_sent_at: null });
      await grants.endLeases();
    }
    broken = false;
    expect((await grants.tokens.getAccessToken(grantId)).value).toBeTruthy();
    expect(grants.provider.requestsTo('refresh')).toHaveLength(1);
  });

  it('takes a scope that is no list for a mistake of the caller, before anything is leased or sent', async () => {
    const { grantId } = await grants.logIn();
    const wish = { scope: 'openid' as unknown as string[] };
    await expect(grants.tokens.getAccessToken(grantId, wish)).rejects.toBeInstanceOf(TypeError);
    await expect(grants.tokens.fetch(grantId, `${grants.provider.apiUrl}/me`, wish)).rejects.toBeInstanceOf(TypeError);
    expect(await grants.grant(grantId)).toMatchObject({ status: 'active', lease_until: null, refresh_sent_at: null });
    expect(grants.provider.requestsTo('refresh')).toEqual([]);
  });

  it('E-037 recovers from a lost answer where the provider grants a grace period', async () => {
    grants.provider.configure({ reuseGracePeriod: 60_000 });
    const { grantId } = await grants.logIn();
    await grants.expire();
    grants.provider.fault('refresh', { kind: 'lostAnswer', times: 1 });
    await failureOf(grants.tokens.getAccessToken(grantId));
    await grants.endLeases();
    expect((await grants.tokens.getAccessToken(grantId)).value).toBeTruthy();
    expect(await grants.grant(grantId)).toMatchObject({ status: 'active', lost_answers: 0, refresh_sent_at: null });
  });

  it('E-033 takes an answer after our deadline for lost', async () => {
    const { grantId } = await grants.logIn();
    await grants.expire();
    const fault = grants.provider.fault('refresh', { kind: 'lateAnswer', ms: 3_000, times: 1 });
    expect((await failureOf(grants.tokens.getAccessToken(grantId))).code).toBe('provider_unavailable');
    await grants.endLeases();
    expect((await failureOf(grants.tokens.getAccessToken(grantId))).code).toBe('reauth_required');
    expect(fault.hits).toBe(1);
    expect(grants.provider.counters.refreshReuses).toBe(1);
  });

  it('takes a second empty 400 past the floor for the end of a grant, while others succeed there', async () => {
    await using own = await startGrants({ oauth: { refresh: { floor: 0.3 } } });
    const [one, two] = [await own.logIn('user-1'), await own.logIn('user-2')];
    await own.expire();
    const bad = (await own.grant(one.grantId)).refresh_token;
    expect(bad).toBeTruthy();
    let failing = true;
    own.provider.fault('refresh', { kind: 'status', status: 400, body: '', when: () => failing });
    expect((await failureOf(own.tokens.getAccessToken(one.grantId))).code).toBe('invalid_token_response');
    expect((await failureOf(own.tokens.getAccessToken(one.grantId))).code).toBe('invalid_token_response');
    await sleep(350);
    // Nobody else succeeded: the provider may simply be broken.
    expect((await failureOf(own.tokens.getAccessToken(one.grantId))).code).toBe('invalid_token_response');
    failing = false;
    await own.tokens.getAccessToken(two.grantId);
    failing = true;
    expect((await failureOf(own.tokens.getAccessToken(one.grantId))).code).toBe('reauth_required');
    expect(own.seen('reauthRequired')).toEqual([expect.objectContaining({ grantId: one.grantId, reason: 'refused' })]);
  });

  it.each([
    ['null', { kind: 'null' }],
    ['HTML', { kind: 'html' }],
    ['an empty object', { kind: 'emptyObject' }],
  ] as const)('survives %s as an answer', async (_, fault) => {
    const { grantId } = await grants.logIn();
    await grants.expire();
    grants.provider.fault('refresh', { ...fault, times: 1 });
    expect((await failureOf(grants.tokens.getAccessToken(grantId))).statusCode).toBe(502);
    await grants.endLeases();
    expect((await grants.tokens.getAccessToken(grantId)).value).toBeTruthy();
  });

  it('does not count an unreachable provider as a lost answer', async () => {
    const { grantId } = await grants.logIn();
    await grants.expire();
    await grants.provider.goDown();
    for (let attempt = 0; attempt < 4; attempt++)
      expect((await failureOf(grants.tokens.getAccessToken(grantId))).code).toBe('provider_unavailable');
    await grants.provider.comeBack();
    expect((await grants.tokens.getAccessToken(grantId)).value).toBeTruthy();
  });
});

describe('who is refreshed', () => {
  let grants: Grants;

  beforeEach(async () => {
    grants = await startGrants();
  });
  afterEach(() => grants[Symbol.asyncDispose]());

  it.each([
    ['subject', (claims: Record<string, unknown>) => void (claims.sub = 'somebody-else')],
    ['issuer', (claims: Record<string, unknown>) => void (claims.iss = 'https://evil.example')],
    ['audience', (claims: Record<string, unknown>) => void (claims.aud = 'another-client')],
  ])('A-094 discards tokens of another %s, ends the sessions, says so once, and revokes', async (_, change) => {
    const { grantId, agent, sessionId } = await grants.logIn();
    const stored = await grants.database.query('select token from oauth_access_tokens where grant_id = $1', [grantId]);
    expect(stored).toHaveLength(1);
    await grants.expire();
    grants.provider.tamper('idToken', change);
    expect((await failureOf(grants.tokens.getAccessToken(grantId))).code).toBe('reauth_required');
    expect(await grants.database.query('select 1 from oauth_access_tokens where grant_id = $1', [grantId])).toEqual([]);
    expect(await grants.grant(grantId)).toMatchObject({ status: 'reauth_required', refresh_token: null });
    expect((await agent.fetch(`${grants.app.url}/me`)).status).toBe(401);
    await failureOf(grants.tokens.getAccessToken(grantId));
    expect(grants.seen('subjectMismatch')).toHaveLength(1);
    expect(grants.seen('logout')).toEqual([expect.objectContaining({ sessionIds: [sessionId], by: 'security' })]);
    await until(() => grants.provider.revocations.length > 0);
  });

  it.each([
    ['old iat', (claims: Record<string, unknown>) => void (claims.iat = (claims.iat as number) - 3600)],
    [
      'changed auth_time',
      (claims: Record<string, unknown>) => void (claims.auth_time = (claims.auth_time as number) + 300),
    ],
    ['changed azp', (claims: Record<string, unknown>) => void (claims.azp = 'another-client')],
    ['other nonce', (claims: Record<string, unknown>) => void (claims.nonce = 'another-nonce')],
  ])('A-095 refuses new tokens with %s', async (_, change) => {
    grants.provider.configure({ authTime: 'always' });
    const { grantId, agent } = await grants.logIn();
    const before = await grants.database.query('select token from oauth_access_tokens where grant_id = $1', [grantId]);
    await grants.expire();
    grants.provider.tamper('idToken', change);
    await failureOf(grants.tokens.getAccessToken(grantId));
    expect(await grants.database.query('select token from oauth_access_tokens where grant_id = $1', [grantId])).toEqual(
      before,
    );
    expect(grants.seen('subjectMismatch')).toEqual([]);
    expect((await agent.fetch(`${grants.app.url}/me`)).status).toBe(200);
  });

  describe('where the provider answers with the refresh token that was sent', () => {
    let refreshToken: string;
    let grantId: string;
    beforeEach(async () => {
      await grants[Symbol.asyncDispose]();
      const provider = { revocationScope: 'token', rotation: 'same' } as const;
      grants = await startGrants({ provider, definition: { revocation: 'token' } });
      ({ grantId } = await grants.logIn());
      refreshToken = grants.provider.issued.filter((item) => item.kind === 'refreshToken').at(-1)!.value;
      await grants.expire();
    });
    /** The access token was revoked, and no other. */
    async function keepsRefreshToken(): Promise<void> {
      await until(() => grants.provider.revocations.length > 0);
      expect(grants.provider.revocations).toMatchObject([{ hint: 'access_token' }]);
      expect(grants.provider.isActive(refreshToken)).toBe(true);
      await grants.endLeases();
      await grants.expire();
      expect((await grants.tokens.getAccessToken(grantId)).value).toBeTruthy();
    }

    it('A-095 an answer that is refused costs the access token alone', async () => {
      let nonce: unknown = 'another-nonce';
      grants.provider.tamper('idToken', (claims) => void (nonce === undefined || (claims.nonce = nonce)));
      await failureOf(grants.tokens.getAccessToken(grantId));
      nonce = undefined;
      await keepsRefreshToken();
    });

    it('a login that brought the same one meanwhile keeps it', async () => {
      const hold = grants.provider.hold('token');
      const pending = grants.tokens.getAccessToken(grantId);
      await hold.arrived;
      // As a login leaves it whose answer held this refresh token again.
      await grants.database.query('update oauth_grants set version = version + 1 where id = $1', [grantId]);
      hold.release();
      await pending.catch(() => undefined);
      await keepsRefreshToken();
    });
  });

  it('A-095 accepts the same auth_time and nonce as at the login', async () => {
    grants.provider.configure({ authTime: 'always' });
    let nonce: unknown;
    grants.provider.tamper('idToken', (claims, _header, { grantType }) => {
      if (grantType === 'authorization_code') ({ nonce } = claims);
      else claims.nonce = nonce;
    });
    const { grantId } = await grants.logIn();
    await grants.expire();
    expect((await grants.tokens.getAccessToken(grantId)).value).toBeTruthy();
  });

  /** Each login has its own nonce and auth_time, and refreshes repeat those of the login that the refresh token is from. */
  function repeatClaims(): void {
    let original: Record<string, unknown> = {};
    let logins = 0;
    grants.provider.tamper('idToken', (claims, _header, { grantType }) => {
      if (grantType !== 'authorization_code') return void Object.assign(claims, original);
      claims.auth_time = (claims.iat as number) - 100 * ++logins;
      if (grants.provider.behaviour.issueRefreshToken) original = { nonce: claims.nonce, auth_time: claims.auth_time };
    });
  }

  it('A-095 judges by no other login once the session has ended whose login the refresh token is from', async () => {
    repeatClaims();
    const laptop = await grants.logIn();
    const phone = await grants.logIn();
    expect(phone.grantId).toBe(laptop.grantId);
    await phone.agent.fetch(`${grants.app.url}/auth/logout`, { method: 'POST' });
    for (let round = 0; round < 2; round++) {
      await grants.expire();
      expect((await grants.tokens.getAccessToken(laptop.grantId)).value).toBeTruthy();
    }
    expect(await grants.grant(laptop.grantId)).toMatchObject({ status: 'active' });
  });

  it('A-094 judges the subject also when that session has ended', async () => {
    const { grantId } = await grants.logIn();
    const phone = await grants.logIn();
    await phone.agent.fetch(`${grants.app.url}/auth/logout`, { method: 'POST' });
    await grants.expire();
    grants.provider.tamper('idToken', (claims) => void (claims.sub = 'somebody-else'));
    expect((await failureOf(grants.tokens.getAccessToken(grantId))).code).toBe('reauth_required');
  });

  it('A-095 still refuses another login after another session has ended, and after a refresh', async () => {
    const laptop = await grants.logIn();
    const { grantId } = await grants.logIn();
    await laptop.agent.fetch(`${grants.app.url}/auth/logout`, { method: 'POST' });
    await grants.expire();
    await grants.tokens.getAccessToken(grantId);
    await grants.expire();
    grants.provider.tamper('idToken', (claims) => void (claims.nonce = 'another-nonce'));
    await failureOf(grants.tokens.getAccessToken(grantId));
    expect(await grants.grant(grantId)).toMatchObject({ status: 'reauth_required', status_reason: 'answer_refused' });
  });

  it('A-095 finds that session among many later ones that brought no refresh token', async () => {
    repeatClaims();
    const { grantId } = await grants.logIn();
    grants.provider.configure({ issueRefreshToken: false });
    for (let login = 0; login < 11; login++) await grants.logIn();
    await grants.expire();
    expect((await grants.tokens.getAccessToken(grantId)).value).toBeTruthy();
  });

  it('E-097 finds a new key although a forged logout token has just asked for another', async () => {
    const { grantId } = await grants.logIn();
    const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
    const forged = `${part({ alg: 'RS256', kid: 'nobody', typ: 'logout+jwt' })}.${part({})}.${'A'.repeat(342)}`;
    for (let attempt = 0; attempt < 2; attempt++) {
      const body = new URLSearchParams({ logout_token: forged });
      const answer = await fetch(`${grants.app.url}/auth/fake/backchannel-logout`, { method: 'POST', body });
      expect(answer.status).toBe(400);
    }
    await grants.provider.rotateKeys();
    await grants.expire();
    expect((await grants.tokens.getAccessToken(grantId)).value).toBeTruthy();
    // Another new key at once: it cannot be had yet, and that is no reason to lose the grant.
    await grants.provider.rotateKeys();
    await grants.expire();
    expect((await failureOf(grants.tokens.getAccessToken(grantId))).code).toBe('provider_unavailable');
    expect(await grants.grant(grantId)).toMatchObject({ status: 'active' });
  });

  it('E-097 keeps the grant where the key set, fetched anew, does not have the key yet', async () => {
    const { grantId } = await grants.logIn();
    const before = await grants.grant(grantId);
    let ahead = true;
    grants.provider.tamper('idToken', (_claims, header) => void (ahead && (header.kid = 'published-later')));
    // Renewed before its time, the login's own token still serves.
    const { value } = await grants.tokens.getAccessToken(grantId);
    expect((await grants.tokens.getAccessToken(grantId, { forceRefresh: true })).value).toBe(value);
    expect((await grants.grant(grantId)).refresh_token).not.toBe(before.refresh_token);
    await grants.expire();
    expect((await failureOf(grants.tokens.getAccessToken(grantId))).code).toBe('provider_unavailable');
    const after = await grants.grant(grantId);
    expect(after.status).toBe('active');
    expect(after.refresh_token).not.toBe(before.refresh_token);
    ahead = false;
    expect((await grants.tokens.getAccessToken(grantId)).value).toBeTruthy();
  });

  it('E-101 waits for keys no longer than for the provider, and keeps what was issued', async () => {
    const { grantId } = await grants.logIn();
    await grants.provider.rotateKeys();
    await grants.expire();
    const before = await grants.grant(grantId);
    grants.provider.fault('token', { kind: 'latency', ms: 1_200 });
    grants.provider.fault('jwks', { kind: 'stall' });
    const began = performance.now();
    expect((await failureOf(grants.tokens.getAccessToken(grantId))).code).toBe('provider_unavailable');
    expect(performance.now() - began).toBeLessThan(2_900);
    const after = await grants.grant(grantId);
    expect(after.status).toBe('active');
    expect(after.refresh_token).not.toBe(before.refresh_token);
  });

  it('A-096 is content without an ID token', async () => {
    const { grantId } = await grants.logIn();
    const [before] = await grants.database.query('select id_token from oauth_sessions');
    grants.provider.configure({ idTokenOnRefresh: false });
    await grants.expire();
    expect((await grants.tokens.getAccessToken(grantId)).value).toBeTruthy();
    expect(await grants.database.query('select id_token from oauth_sessions')).toEqual([before]);
  });
});

describe('what answers say', () => {
  let grants: Grants;

  beforeEach(async () => {
    grants = await startGrants();
  });
  afterEach(() => grants[Symbol.asyncDispose]());

  it('E-024 E-025 keeps the refresh token when none or the same one comes back', async () => {
    for (const rotation of [false, 'same'] as const) {
      grants.provider.configure({ rotation });
      const { grantId } = await grants.logIn(`user-${String(rotation)}`);
      const { version } = await grants.grant(grantId);
      for (let round = 0; round < 2; round++) {
        await grants.expire();
        expect((await grants.tokens.getAccessToken(grantId)).value).toBeTruthy();
      }
      expect(await grants.grant(grantId)).toMatchObject({ version, status: 'active' });
    }
    expect(grants.provider.counters).toMatchObject({ refreshes: 4, refreshReuses: 0 });
  });

  it('E-023 works without a refresh token until the access token expires', async () => {
    grants.provider.configure({ issueRefreshToken: false });
    const { grantId } = await grants.logIn();
    expect((await grants.tokens.getAccessToken(grantId)).value).toBeTruthy();
    await grants.expire();
    expect(await failureOf(grants.tokens.getAccessToken(grantId))).toMatchObject({
      code: 'reauth_required',
      reconnectUrl: `${grants.app.url}/auth/fake/login`,
    });
  });

  it.each([
    ['"3600"', '3600', 3600],
    ['missing', undefined, null],
    ['null', null, null],
    ['"abc"', 'abc', null],
    ['"3600abc"', '3600abc', null],
    ['1e300', 1e300, 315_360_000],
    ['3599.9', 3599.9, 3599],
    ['true', true, null],
    ['2^63', 2 ** 63, 315_360_000],
  ])('E-026 E-027 copes with expires_in %s', async (_, expiresIn, seconds) => {
    const { grantId } = await grants.logIn();
    await grants.expire();
    grants.provider.configure({ expiresIn, accessTokenLifetime: 3600 });
    const token = await grants.tokens.getAccessToken(grantId);
    if (seconds === null) expect(token.expiresAt).toBeNull();
    else expect((token.expiresAt!.getTime() - Date.now()) / 1000).toBeCloseTo(seconds, -1);
    expect((await grants.tokens.getAccessToken(grantId)).value).toBe(token.value);
    expect(grants.provider.counters.refreshes).toBe(1);
  });

  it.each([0, -1])('E-028 refreshes at most once in 30 s when expires_in is %s', async (expiresIn) => {
    const { grantId } = await grants.logIn();
    await grants.expire();
    grants.provider.configure({ expiresIn });
    const other = await grants.another();
    const values = new Set<string>();
    for (let round = 0; round < 20; round++)
      for (const { tokens } of [grants, other]) values.add((await tokens.getAccessToken(grantId)).value);
    expect(values.size).toBe(1);
    expect(grants.provider.counters.refreshes).toBe(1);
  });

  it('E-026 uses defaultExpiresIn where the provider names no lifetime', async () => {
    await using own = await startGrants({ definition: { defaultExpiresIn: 600 }, provider: { expiresIn: undefined } });
    const { grantId } = await own.logIn();
    const token = await own.tokens.getAccessToken(grantId);
    expect((token.expiresAt!.getTime() - Date.now()) / 1000).toBeCloseTo(600, -1);
  });
});
