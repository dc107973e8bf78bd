// Encryption keys: changed under load, missing, and kept by a service that may fail or stall.
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { KeyRing, LocalKeyRing, OAuthError, Rekeyer, UnknownKeyError, type WrappedKey } from '../../../src/index.js';
import { type Grants, startGrants, until } from '../../support/grants.js';
import { TEST_KEY } from '../../support/app.js';

const NEW_KEY = 'bmV3LWtleS1uZXcta2V5LW5ldy1rZXktbmV3LTAxMjM';
const OLD = { id: 'test', secret: TEST_KEY };
const NEW = { id: 'new', secret: NEW_KEY };

const main = fileURLToPath(new URL('../../../src/cli/main.ts', import.meta.url));
const hooks = new URL('../../support/typescript.mjs', import.meta.url).href;

function cli(args: string[], env: Record<string, string> = {}): Promise<{ code: number; out: string; err: string }> {
  return new Promise((resolve) => {
    const options = { env: { PATH: process.env.PATH ?? '', ...env } };
    execFile(process.execPath, ['--no-warnings', '--import', hooks, main, ...args], options, (error, out, err) =>
      resolve({ code: error ? Number(error.code) : 0, out, err }),
    );
  });
}

describe('changing the key', () => {
  it('D-034 D-035 E-042 seals everything anew under load, loses no refresh, leaves no value of the old key', async () => {
    await using grants = await startGrants({ oauth: { encryption: { keys: [OLD, NEW] } } });
    const logins = [];
    for (let index = 0; index < 12; index++) logins.push(await grants.logIn(`user-${index}`));
    const newer = await grants.another({ encryption: { keys: [NEW, OLD] } });
    let running = true;
    const load = Promise.all(
      logins.map(async ({ grantId }, index) => {
        const app = index % 2 ? newer : grants.app;
        let refreshes = 0;
        while (running) {
          await grants.database.query(
            `update oauth_access_tokens set expires_at = now() - interval '1 second', issued_at = now() - interval '1 hour', refreshed_at = null where grant_id = $1`,
            [grantId],
          );
          await app.tokens.getAccessToken(grantId);
          refreshes += 1;
        }
        return refreshes;
      }),
    );
    const rekeyer = newer.app.get(Rekeyer);
    const progress: number[] = [];
    for (let round = 0; round < 10; round++)
      await rekeyer.rekey({ batchSize: 3, onProgress: ({ resealed }) => progress.push(resealed) });
    running = false;
    expect((await load).every((count) => count > 0)).toBe(true);
    expect(progress.some((count) => count > 0)).toBe(true);
    expect(grants.provider.counters).toMatchObject({ refreshReuses: 0, familiesRevoked: 0 });
    // The process that still seals with the old key is gone: one more run, interrupted and repeated, ends it.
    await grants.app.close();
    const stop = new AbortController();
    await rekeyer.rekey({ batchSize: 1, signal: stop.signal, onProgress: () => stop.abort() }).catch(() => undefined);
    expect(await rekeyer.rekey()).toMatchObject({ failed: 0 });
    expect(new Set((await rekeyer.report()).map((use) => use.keyId))).toEqual(new Set(['new']));
    expect(await rekeyer.rekey()).toEqual({ resealed: 0, failed: 0 });
    for (const { grantId } of logins) {
      expect((await grants.grant(grantId)).status).toBe('active');
      await grants.expire();
      expect((await newer.tokens.getAccessToken(grantId)).value).toBeTruthy();
    }
    expect(grants.provider.counters).toMatchObject({ refreshReuses: 0, familiesRevoked: 0 });
  });

  it('leaves version and lease of a refresh under way alone', async () => {
    await using grants = await startGrants({ oauth: { encryption: { keys: [NEW, OLD] } } });
    const before = await startLoginSealedWith(grants, OLD);
    await grants.expire();
    const hold = grants.provider.hold('refresh');
    const token = grants.tokens.getAccessToken(before.grantId);
    await hold.arrived;
    const during = await grants.grant(before.grantId);
    expect(await grants.app.app.get(Rekeyer).rekey()).toMatchObject({ failed: 0 });
    const after = await grants.grant(before.grantId);
    expect(after.refresh_token).not.toBe(during.refresh_token);
    expect({ ...after, refresh_token: '' }).toEqual({ ...during, refresh_token: '' });
    hold.release();
    expect((await token).value).toBeTruthy();
    await grants.expire();
    expect((await grants.tokens.getAccessToken(before.grantId)).value).toBeTruthy();
    expect(grants.provider.counters).toMatchObject({ refreshes: 2, refreshReuses: 0 });
  });

  it('is done from the command line: report, refusal to retire, rekey, retire, doctor', async () => {
    await using grants = await startGrants();
    await grants.logIn();
    const env = { DATABASE_URL: grants.database.url, OAUTH_KEYS: JSON.stringify([NEW, OLD]) };
    const key = await cli(['keys', 'generate']);
    expect(key.out).toMatch(/^[\w-]{43}\n$/);
    const report = JSON.parse((await cli(['keys', 'report', '--json'], env)).out) as { keyId: string; rows: number }[];
    expect(new Set(report.map((use) => use.keyId))).toEqual(new Set(['test']));
    expect(await cli(['keys', 'retire', 'test'], env)).toMatchObject({
      code: 1,
      err: expect.stringContaining('still seals'),
    });
    const ill = await cli(['doctor'], { ...env, OAUTH_KEYS: JSON.stringify([NEW]) });
    expect([ill.code, ill.out]).toEqual([1, expect.stringContaining('"test", which is not configured here')]);
    const advised = await cli(['doctor'], env);
    expect(advised.out).toContain('a new key is first added last');
    expect(await cli(['rekey'], env)).toMatchObject({
      code: 0,
      out: expect.stringContaining('sealed anew with "new"'),
    });
    expect(await cli(['keys', 'retire', 'test'], env)).toMatchObject({ code: 0 });
    expect(await cli(['keys', 'retire', 'new'], env)).toMatchObject({
      code: 1,
      err: expect.stringContaining('current key'),
    });
    // Without the keys it does not claim to know which one is current; with unreadable ones it lets none go.
    const unsaid = await cli(['keys', 'retire', 'test'], { DATABASE_URL: grants.database.url });
    expect([unsaid.code, unsaid.out]).toEqual([0, expect.stringContaining('was not looked at')]);
    expect(await cli(['keys', 'retire', 'test'], { ...env, OAUTH_KEYS: 'test' })).toMatchObject({ code: 2, out: '' });
    expect((await cli(['rekey', '--json'], env)).out).toContain('"resealed":0');
    expect(await cli(['nonsense'])).toMatchObject({ code: 2 });
    for (const { out, err } of [report, ill, advised] as { out: string; err: string }[])
      for (const secret of [TEST_KEY, NEW_KEY]) expect(`${out}${err}`).not.toContain(secret);
  });
});

/** Logs somebody in at an application that seals with another key. */
async function startLoginSealedWith(grants: Grants, key: typeof OLD): Promise<{ grantId: string }> {
  const login = await grants.logIn();
  const other = await grants.another({ encryption: { keys: [key, NEW] } });
  await other.app.get(Rekeyer).rekey();
  await other.close();
  return login;
}

describe('a key that is missing', () => {
  it('D-036 is a 503 and an alarm: nothing written, nobody logged out, a logout still works; once back, all is well', async () => {
    await using grants = await startGrants();
    const { grantId, agent } = await grants.logIn();
    const second = await grants.logIn('user-2');
    await grants.expire();
    const rows = await grants.database.query('select * from oauth_grants order by id');
    const without = await grants.another({ encryption: { keys: [NEW] } });
    await expect(without.tokens.getAccessToken(grantId)).rejects.toMatchObject({
      code: 'key_unavailable',
      statusCode: 503,
    });
    expect((await grants.database.query('select * from oauth_grants order by id')).map(plain)).toEqual(rows.map(plain));
    expect(grants.seen('alarm')).toEqual([expect.objectContaining({ code: 'key_unavailable' })]);
    expect((await agent.fetch(`${grants.app.url}/me`)).status).toBe(200);
    const [old] = await grants.database.query<{ user_id: string; id: string }>(
      'select id, user_id from oauth_sessions where grant_id = $1',
      [second.grantId],
    );
    const { SessionService } = await import('../../../src/index.js');
    expect(await without.app.get(SessionService).end(old!.user_id, old!.id)).toBe(true);
    expect((await grants.grant(second.grantId)).status).toBe('revoked');
    // The process that knows the key revokes what the other one could not even open.
    await without.close();
    await grants.database.query(`update oauth_revocations set next_attempt_at = now()`);
    const knowing = await grants.another();
    await until(async () => (await grants.database.query('select 1 from oauth_revocations')).length === 0);
    expect(grants.provider.revocations).toEqual([expect.objectContaining({ effective: true, hint: 'refresh_token' })]);
    expect((await knowing.tokens.getAccessToken(grantId)).value).toBeTruthy();
  });
});

function plain(row: Record<string, unknown>): Record<string, unknown> {
  const { lease_until: _until, ...rest } = row;
  return rest;
}

/** A ring as a KMS would be: asynchronous, and at times away. */
class SlowRing extends KeyRing {
  readonly #inner = new LocalKeyRing([{ id: 'kms', bytes: Buffer.from(TEST_KEY, 'base64url') }]);
  readonly currentKeyId = 'kms';
  readonly keyIds = ['kms'];
  mode: 'well' | 'failing' | 'stalled' = 'well';

  async wrap(contentKey: Uint8Array): Promise<WrappedKey> {
    await this.#answer();
    return this.#inner.wrap(contentKey);
  }

  async unwrap(keyId: string, encryptedKey: Uint8Array): Promise<Uint8Array> {
    await this.#answer();
    if (keyId !== 'kms') throw new UnknownKeyError(keyId);
    return this.#inner.unwrap(keyId, encryptedKey);
  }

  #answer(): Promise<void> {
    if (this.mode === 'failing') return Promise.reject(new Error('the KMS is away'));
    return new Promise((resolve) => {
      if (this.mode === 'well') setTimeout(resolve, 5);
    });
  }
}

describe('a key ring of one’s own', () => {
  it('D-045 may be asynchronous; failing or stalling it is a 503 by a deadline, and nothing is stored in clear', async () => {
    const keyRing = new SlowRing();
    await using grants = await startGrants({ oauth: { encryption: { keyRing } } });
    const { grantId, agent } = await grants.logIn();
    await grants.expire();
    const first = await grants.tokens.getAccessToken(grantId);
    expect(first.value).toBeTruthy();
    for (const mode of ['failing', 'stalled'] as const) {
      await grants.expire();
      keyRing.mode = mode;
      const began = performance.now();
      const error: unknown = await grants.tokens.getAccessToken(grantId).catch((reason: unknown) => reason);
      expect(error).toBeInstanceOf(OAuthError);
      expect(error).toMatchObject({ code: 'key_unavailable', statusCode: 503 });
      expect(performance.now() - began).toBeLessThan(12_000);
      const login = await agent.navigate(`${grants.app.url}/auth/fake/login`);
      expect(login.status).toBe(503);
      keyRing.mode = 'well';
    }
    await grants.expire();
    expect((await grants.tokens.getAccessToken(grantId)).value).toBeTruthy();
    const dump = JSON.stringify([
      await grants.database.query('select * from oauth_grants'),
      await grants.database.query('select * from oauth_access_tokens'),
    ]);
    for (const { value } of grants.provider.issued) expect(dump).not.toContain(value);
    expect(grants.provider.counters.refreshReuses).toBe(0);
  });

  it('keeps a rotated token when the ring fails just after the provider answered', async () => {
    const keyRing = new SlowRing();
    await using grants = await startGrants({ oauth: { encryption: { keyRing } } });
    const { grantId } = await grants.logIn();
    await grants.expire();
    grants.provider.interpose('refresh', { after: () => void (keyRing.mode = 'failing'), times: 1 });
    expect((await grants.tokens.getAccessToken(grantId)).value).toBeTruthy();
    setTimeout(() => (keyRing.mode = 'well'), 500);
    await until(async () => (await grants.grant(grantId)).version === 2);
    await grants.expire();
    expect((await grants.tokens.getAccessToken(grantId)).value).toBeTruthy();
    expect(grants.provider.counters).toMatchObject({ refreshes: 2, refreshReuses: 0 });
  });
});
