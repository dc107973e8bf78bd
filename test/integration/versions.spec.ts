// A rolling deploy, as far as one version can show it: a process of this version goes on while a newer one has added
// columns, members and notifications of its own, and what an older one left out is not missed.
import { LocalKeyRing } from '../../src/crypto/key-ring.js';
import { type SealContext, Sealer } from '../../src/crypto/sealing.js';
import { TEST_KEY } from '../support/app.js';
import { type Grants, startGrants } from '../support/grants.js';
import { UserAgent } from '../support/user-agent.js';

const tables = [
  ...['oauth_states', 'oauth_accounts', 'oauth_grants', 'oauth_access_tokens', 'oauth_sessions', 'oauth_logout_tokens'],
  'oauth_revocations',
];
const sealer = new Sealer(new LocalKeyRing([{ id: 'test', bytes: Buffer.from(TEST_KEY, 'base64url') }]));

describe('a newer version on the same database', () => {
  let grants: Grants;

  beforeEach(async () => {
    grants = await startGrants();
  });
  afterEach(() => grants[Symbol.asyncDispose]());

  /** Logs in, uses the session and its tokens, logs out. */
  async function wholeLife(sub: string, agent = new UserAgent()): Promise<void> {
    const { grantId } = await grants.logIn(sub, agent);
    expect((await agent.fetch(`${grants.app.url}/me`)).status).toBe(200);
    await grants.expire();
    expect((await agent.fetch(`${grants.app.url}/me/api`)).json()).toMatchObject({ status: 200, body: { sub } });
    expect((await agent.fetch(`${grants.app.url}/auth/sessions`)).status).toBe(200);
    expect((await agent.fetch(`${grants.app.url}/auth/logout`, { method: 'POST' })).status).toBe(200);
    expect((await grants.grant(grantId)).status).toBe('revoked');
  }

  it('E-012 may add columns while processes of this one run: prepared statements, rows and logins go on', async () => {
    const agent = new UserAgent();
    const { grantId } = await grants.logIn('user-1', agent);
    await wholeLife('user-2');
    for (const table of tables) {
      await grants.database.query(`alter table ${table} add column added_later text`);
      await grants.database.query(
        `alter table ${table} add column with_default jsonb not null default '{"newer": true}'`,
      );
      await grants.database.query(`update ${table} set added_later = 'of a newer version'`);
    }
    await grants.database.query(`create index on oauth_sessions (added_later)`);
    // Rows of before, connections of before.
    expect((await agent.fetch(`${grants.app.url}/me`)).status).toBe(200);
    await grants.expire();
    expect((await grants.tokens.getAccessToken(grantId)).value).toBeTruthy();
    await wholeLife('user-3');
    await wholeLife('user-1', agent);
    // And a process that starts only now.
    const late = await grants.another();
    await grants.logIn('user-4');
    await grants.expire();
    for (const row of await grants.database.query<{ id: string }>(
      `select id from oauth_grants where status = 'active'`,
    ))
      expect((await late.tokens.getAccessToken(row.id)).value).toBeTruthy();
    // What the newer one wrote into a row that was only changed here is still there.
    expect((await grants.grant(grantId)).with_default).toEqual({ newer: true });
    expect(grants.provider.counters).toMatchObject({ refreshReuses: 0, familiesRevoked: 0 });
  });

  it.each([
    ['a newer one with members of its own', (payload: object) => ({ ...payload, addedLater: { deep: [1] }, __v: 7 })],
    [
      'an older one without what is optional',
      ({ intent, scope, codeVerifier, nonce }: Record<string, unknown>) => ({ intent, scope, codeVerifier, nonce }),
    ],
  ])('E-012 a login begun by %s can be finished here', async (_, change) => {
    const agent = new UserAgent();
    const start = await agent.navigate(`${grants.app.url}/auth/fake/login?returnTo=/me`, { followRedirects: false });
    const [row] = await grants.database.query<{ hash: string; payload: string }>(
      `select encode(state_hash, 'hex') as hash, payload from oauth_states`,
    );
    const context: SealContext = ['oauth_states', 'payload', row!.hash, 'fake'];
    const payload = JSON.parse(await sealer.open(context, row!.payload)) as Record<string, unknown>;
    await grants.database.query(`update oauth_states set payload = $1`, [
      await sealer.seal(context, JSON.stringify(change(payload))),
    ]);
    const page = await agent.navigate(start.headers.get('location')!);
    expect([page.status, page.url]).toEqual([200, `${grants.app.url}/me`]);
  });

  it('E-012 profiles with more members, or with none, are read; so are notifications that mean nothing here', async () => {
    const agent = new UserAgent();
    const { grantId } = await grants.logIn('user-1', agent);
    for (const profile of ['{"name": "N", "addedLater": {"a": 1}}', '{}']) {
      await grants.database.query(`update oauth_accounts set profile = $1::jsonb`, [profile]);
      expect((await agent.fetch(`${grants.app.url}/me`)).status).toBe(200);
      expect((await agent.fetch(`${grants.app.url}/auth/session`)).status).toBe(200);
    }
    // Somebody waits for a refresh, which is when notifications are listened to.
    const other = await grants.another();
    await grants.expire();
    const hold = grants.provider.hold('refresh');
    const calls = [grants.tokens.getAccessToken(grantId), other.tokens.getAccessToken(grantId)];
    await hold.arrived;
    for (const payload of ['', 'x', '{"grant": "newer"}', grantId.toUpperCase(), '["a"]', grantId])
      await grants.database.query(`select pg_notify('oauth_grants', $1)`, [payload]);
    await new Promise((done) => setTimeout(done, 300));
    hold.release();
    const [one, two] = await Promise.all(calls);
    expect(one!.value).toBe(two!.value);
    expect(grants.provider.counters).toMatchObject({ refreshes: 1, refreshReuses: 0 });
  });
});
