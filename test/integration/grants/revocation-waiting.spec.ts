// Where one revocation ends everything of a user, it waits for the last grant, and not a moment longer.
import { setTimeout as sleep } from 'node:timers/promises';
import { startGrants, until } from '../../support/grants.js';

const SESSION = { definition: { grant: 'session' as const } };

describe('a revocation that waits for another grant of the same person', () => {
  it('A-068 is carried out as soon as the last one has been logged out', async () => {
    await using grants = await startGrants(SESSION);
    const [one, two] = [await grants.logIn(), await grants.logIn()];
    await one.agent.fetch(`${grants.app.url}/auth/logout`, { method: 'POST' });
    await until(
      async () => (await grants.database.query('select 1 from oauth_revocations where waiting')).length === 1,
    );
    expect(grants.provider.revocations).toEqual([]);
    await two.agent.fetch(`${grants.app.url}/auth/logout`, { method: 'POST' });
    await until(() => grants.provider.revocations.length === 2);
    await until(async () => (await grants.database.query('select 1 from oauth_revocations')).length === 0);
  });

  it('is carried out as soon as the provider itself has ended the last one', async () => {
    await using grants = await startGrants(SESSION);
    const [one, two] = [await grants.logIn(), await grants.logIn()];
    await one.agent.fetch(`${grants.app.url}/auth/logout`, { method: 'POST' });
    await until(
      async () => (await grants.database.query('select 1 from oauth_revocations where waiting')).length === 1,
    );
    grants.provider.fault('refresh', { kind: 'oauthError', error: 'invalid_grant', times: 1 });
    await grants.expire();
    await expect(grants.tokens.getAccessToken(two.grantId)).rejects.toMatchObject({ code: 'reauth_required' });
    await until(() => grants.provider.revocations.length === 1);
  });

  it('keeps to Retry-After: a row that was put off is not hurried by the end of another grant', async () => {
    await using grants = await startGrants(SESSION);
    const [one, two] = [await grants.logIn(), await grants.logIn('user-2')];
    grants.provider.fault('revocation', { kind: 'status', status: 503, retryAfter: 60, times: 1 });
    await one.agent.fetch(`${grants.app.url}/auth/logout`, { method: 'POST' });
    await until(async () => {
      const [row] = await grants.database.query(
        `select next_attempt_at > now() + interval '30 seconds' as put_off from oauth_revocations`,
      );
      return row?.put_off === true;
    });
    await two.agent.fetch(`${grants.app.url}/auth/logout`, { method: 'POST' });
    await until(() => grants.provider.revocations.length === 1);
    await sleep(200);
    expect(await grants.database.query('select waiting from oauth_revocations')).toEqual([{ waiting: false }]);
  });
});
