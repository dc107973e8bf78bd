// Postgres gone exactly when a rotated token is to be written, and the cost of a token that is at hand.
import { SessionService } from '../../../src/index.js';
import { startGrants, until } from '../../support/grants.js';
import { startQueryLog } from '../../support/query-log.js';

describe('a rotated token while Postgres is away', () => {
  it.each(['cut', 'lose-answer'] as const)(
    'E-039 is written as soon as it is back, the caller served at once (%s)',
    async (fate) => {
      await using grants = await startGrants();
      const log = await startQueryLog({ url: grants.database.url });
      const app = await grants.another({}, log.url);
      const { grantId } = await grants.logIn();
      await grants.expire();
      let failures = 0;
      log.decide = ({ sql }) => (sql.includes('with written as') && failures++ < 2 ? fate : 'pass');
      expect((await app.tokens.getAccessToken(grantId)).value).toBeTruthy();
      await until(async () => (await grants.grant(grantId)).version === 2);
      log.decide = undefined;
      await grants.expire();
      expect((await app.tokens.getAccessToken(grantId)).value).toBeTruthy();
      expect(failures).toBeGreaterThan(0);
      expect(grants.provider.counters).toMatchObject({ refreshes: 2, refreshReuses: 0, familiesRevoked: 0 });
      expect(grants.provider.revocations).toEqual([]);
      await app.close();
      await log.close();
    },
  );

  it('E-039 is kept although the database fails while the ID token of the refresh is judged', async () => {
    await using grants = await startGrants();
    const log = await startQueryLog({ url: grants.database.url });
    const app = await grants.another({}, log.url);
    grants.provider.configure({ idTokenOnRefresh: true, authTime: 'always' });
    const { grantId } = await grants.logIn();
    await grants.expire();
    let failures = 0;
    log.decide = ({ sql }) => (/select .*id_token.* from oauth_sessions/s.test(sql) && failures++ < 2 ? 'cut' : 'pass');
    // The caller is not served, for the token was not judged; but the rotated refresh token is not lost.
    await expect(app.tokens.getAccessToken(grantId)).rejects.toMatchObject({ code: 'database_unavailable' });
    expect(failures).toBeGreaterThan(0);
    await until(async () => (await grants.grant(grantId)).version === 2);
    log.decide = undefined;
    expect((await app.tokens.getAccessToken(grantId)).value).toBeTruthy();
    expect(grants.provider.counters).toMatchObject({ refreshes: 2, refreshReuses: 0, familiesRevoked: 0 });
    await app.close();
    await log.close();
  });
});

it('gives a valid token out of memory without any query', async () => {
  await using grants = await startGrants();
  const { sessionId } = await grants.logIn();
  const session = (await grants.app.app.get(SessionService).find(sessionId))!;
  await grants.tokens.getAccessToken(session);
  const began = performance.now();
  for (let round = 0; round < 20_000; round++) await grants.tokens.getAccessToken(session);
  const micros = ((performance.now() - began) * 1000) / 20_000;
  process.stderr.write(`getAccessToken from memory: ${micros.toFixed(2)} µs\n`);
  expect(micros).toBeLessThan(100);
});
