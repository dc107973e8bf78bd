// Revoking what was logged out (RFC 7009): the person never waits for it, and nothing forgets it, not even a killed process.
import { setTimeout as sleep } from 'node:timers/promises';
import { GrantProcess } from '../../support/grant-process.js';
import { revocationContext } from '../../../src/grants/grant-sealing.js';
import { randomId } from '../../../src/crypto/random.js';
import { FakeProvider } from '../../../src/testing/index.js';
import { oidcOf } from '../../support/app.js';
import { testSealer } from '../../support/seeded-grants.js';
import { type Grants, startGrants, until } from '../../support/grants.js';
import type { UserAgent } from '../../support/user-agent.js';

describe('revocation at the provider', () => {
  let grants: Grants;

  beforeEach(async () => {
    grants = await startGrants();
  });
  afterEach(() => grants[Symbol.asyncDispose]());

  /** Logs out, and looks at once whether the cookie is dead. */
  async function logOut(agent: UserAgent): Promise<void> {
    const copied = agent.jar.header(new URL(grants.app.url), { sameSite: true, topLevel: true, method: 'GET' })!;
    const began = performance.now();
    const answer = await agent.fetch(`${grants.app.url}/auth/logout`, { method: 'POST' });
    expect(answer.status).toBe(200);
    expect(performance.now() - began).toBeLessThan(1_000);
    const again = await agent.request({ url: `${grants.app.url}/me`, headers: { cookie: copied } });
    expect(again.status).toBe(401);
  }

  async function outbox(): Promise<number> {
    return (await grants.database.query('select 1 from oauth_revocations')).length;
  }

  it.each([
    ['HTML', '<html>done</html>', 'text/html'],
    ['JSON that says error', '{"error":"server_error"}', 'application/json'],
    ['broken JSON', '{"', 'application/json'],
    ['nothing', '', 'text/plain'],
  ])('A-069 takes 200 for success, whatever the body: %s', async (_, body, contentType) => {
    const { agent } = await grants.logIn();
    const fault = grants.provider.fault('revocation', { kind: 'raw', status: 200, body, contentType });
    await logOut(agent);
    await until(async () => (await outbox()) === 0);
    expect(fault.hits).toBe(1);
    expect(grants.seen('revoked')).toEqual([expect.objectContaining({ provider: 'fake' })]);
  });

  it('A-070 takes 503 for "later": logged out at once, tried again after Retry-After and not before', async () => {
    const { agent } = await grants.logIn();
    grants.provider.fault('revocation', { kind: 'status', status: 503, retryAfter: 2, times: 1 });
    await logOut(agent);
    await until(() => grants.provider.requestsTo('revocation').length === 1);
    // Other processes keep to it as well, also those that have just started.
    await grants.another();
    await until(async () => (await outbox()) === 0);
    const [first, second, ...further] = grants.provider.requestsTo('revocation');
    expect(further).toEqual([]);
    expect(second!.at - first!.at).toBeGreaterThanOrEqual(1_900);
    expect(second!.at - first!.at).toBeLessThan(6_000);
    expect(grants.provider.revocations).toEqual([expect.objectContaining({ effective: true, hint: 'refresh_token' })]);
  });

  it('A-070 survives SIGKILL, of the process that waits for Retry-After and of one that stands in the request', async () => {
    await using doomed = await GrantProcess.start(grants);
    const first = await grants.logIn('user-1');
    const second = await grants.logIn('user-2');
    // The application of this test must not come to the aid of the killed one.
    await grants.app.close();

    const hold = grants.provider.hold('revocation', 'before');
    expect(await doomed.endSession(first.userId, first.sessionId)).toBe(true);
    await hold.arrived;
    expect(await outbox()).toBe(1);
    await doomed.kill();
    hold.release();
    await grants.provider.idle();
    const killedAt = Date.now();
    grants.provider.clearRequests();

    await using unlucky = await GrantProcess.start(grants);
    const fault = grants.provider.fault('revocation', { kind: 'status', status: 503, retryAfter: 4, times: 1 });
    expect(await unlucky.endSession(second.userId, second.sessionId)).toBe(true);
    await until(() => fault.hits === 1);
    // Its answer is noted before it is killed.
    await until(async () => {
      const [row] = await grants.database.query<{ wait: number }>(
        `select extract(epoch from next_attempt_at - now())::double precision as wait from oauth_revocations where subject = 'user-2'`,
      );
      return row!.wait < 4.1;
    });
    await unlucky.kill();

    // What a killed process had claimed comes again by itself, and what was put off comes when it is due.
    await grants.another();
    await sleep(1_000);
    expect(grants.provider.requestsTo('revocation')).toHaveLength(1);
    await sleep(Math.max(0, killedAt + 8_000 - Date.now()));
    await grants.another();
    await until(async () => (await outbox()) === 0, 40_000);
    const subjects = new Set(grants.provider.revocations.map(({ token }) => subjectOf(token)));
    expect(subjects).toEqual(new Set(['user-1', 'user-2']));
    for (const sub of ['user-1', 'user-2'])
      for (const { value } of grants.provider.issued.filter((one) => one.sub === sub && one.kind !== 'code'))
        expect(grants.provider.isActive(value)).toBe(false);
  });

  it('A-071 takes unsupported_token_type for an end: the logout is done, nothing is tried for ever', async () => {
    const { agent } = await grants.logIn();
    const fault = grants.provider.fault('revocation', { kind: 'oauthError', error: 'unsupported_token_type' });
    await logOut(agent);
    await until(async () => (await outbox()) === 0);
    await grants.another();
    await sleep(500);
    expect(fault.hits).toBe(1);
    // Nothing was revoked, and nobody is told so.
    expect(grants.seen('revoked')).toEqual([]);
  });

  it('a provider that hangs keeps nobody else’s revocations waiting, and still gets its own', async () => {
    const { database } = grants;
    await using slow = await FakeProvider.start();
    const fault = slow.fault('revocation', { kind: 'stall' });
    const sealer = testSealer();
    for (let index = 0; index < 60; index++) {
      const id = randomId();
      await database.query(
        `insert into oauth_revocations (id, provider, issuer, subject, token, hint, expires_at, next_attempt_at)
         values ($1, 'slow', $2, 'somebody', $3, 'refresh_token', now() + interval '1 day', now() - interval '1 minute')`,
        [id, slow.issuer, await sealer.seal(revocationContext(id), `rt-${index}`)],
      );
    }
    // The application that every test begins with does not know that provider.
    await grants.apps.shift()!.close();
    await grants.another({ providers: [oidcOf(grants.provider), oidcOf(slow, { name: 'slow', timeout: 2_000 })] });
    const { agent } = await grants.logIn();
    await until(() => fault.hits > 0);
    await logOut(agent);
    await until(() => grants.provider.revocations.length === 1, 10_000);
    expect(fault.hits).toBeLessThan(60);
    slow.clearFaults();
    await until(() => slow.revocations.length >= 40, 20_000);
  });

  function subjectOf(token: string): string | undefined {
    return grants.provider.issued.find(({ value }) => value === token)?.sub;
  }
});
