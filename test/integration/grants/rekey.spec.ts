// Sealing everything anew while the application works: killed and begun again, and with a key ring that takes its time.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { KeyRing, LocalKeyRing, Rekeyer, type WrappedKey } from '../../../src/index.js';
import { TEST_KEY } from '../../support/app.js';
import { type Grants, startGrants } from '../../support/grants.js';
import { seedGrants } from '../../support/seeded-grants.js';

const OLD = { id: 'test', secret: TEST_KEY };
const NEW = { id: 'new', secret: 'bmV3LWtleS1uZXcta2V5LW5ldy1rZXktbmV3LTAxMjM' };
const main = fileURLToPath(new URL('../../../src/cli/main.ts', import.meta.url));
const hooks = new URL('../../support/typescript.mjs', import.meta.url).href;

/** Refreshes and logs in until it is stopped. */
class Load {
  refreshes = 0;
  logins = 0;
  readonly failures: unknown[] = [];
  #running = true;
  readonly #done: Promise<unknown>;

  constructor(
    private readonly grants: Grants,
    private readonly grantIds: readonly string[],
  ) {
    this.#done = Promise.all([
      this.#work(() => this.#refresh()),
      this.#work(() => this.#refresh()),
      this.#work(() => this.#logIn()),
    ]);
  }

  async stop(): Promise<void> {
    this.#running = false;
    await this.#done;
  }

  async #work(what: () => Promise<void>): Promise<void> {
    while (this.#running) await what().catch((error: unknown) => this.failures.push(error));
  }

  async #refresh(): Promise<void> {
    const id = this.grantIds[Math.floor(Math.random() * this.grantIds.length)]!;
    await this.grants.database.query(
      `update oauth_access_tokens set expires_at = now() - interval '1 second', refreshed_at = null where grant_id = $1`,
      [id],
    );
    await this.grants.tokens.getAccessToken(id);
    this.refreshes += 1;
  }

  async #logIn(): Promise<void> {
    await this.grants.logIn(`newcomer-${this.logins}`);
    this.logins += 1;
    await sleep(50);
  }
}

async function sealedWith(grants: Grants, keyId: string): Promise<number> {
  const uses = await grants.app.app.get(Rekeyer).report();
  return uses.filter((use) => use.keyId === keyId).reduce((sum, { rows }) => sum + rows, 0);
}

/** `nest-oauth rekey` over a database, with the new key first. */
function rekeying(grants: Grants, ...options: string[]): ChildProcess {
  const env = { PATH: process.env.PATH, DATABASE_URL: grants.database.url, OAUTH_KEYS: JSON.stringify([NEW, OLD]) };
  return spawn(process.execPath, ['--no-warnings', '--import', hooks, main, 'rekey', ...options], {
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

async function endedEarly(child: ChildProcess): Promise<never> {
  const [code] = (await once(child, 'exit')) as [number | null];
  throw new Error(`rekey ended with ${code} before it had done anything`);
}

describe('rekey', () => {
  it('D-035 killed by SIGKILL time and again while tokens are refreshed and people log in, gets further each time and ends the same', async () => {
    await using grants = await startGrants({ oauth: { encryption: { keys: [NEW, OLD] } } });
    const seeded = await seedGrants(grants, 300);
    const children: ChildProcess[] = [];
    // Paused for long enough that three rounds leave something to do also where this process hears of them late.
    const rekey = (): ChildProcess => {
      const child = rekeying(grants, '--batch-size', '5', '--pause', '40');
      children.push(child);
      return child;
    };
    const load = new Load(
      grants,
      seeded.map(({ id }) => id),
    );
    try {
      let left = await sealedWith(grants, 'test');
      for (let round = 0; round < 3; round++) {
        const child = rekey();
        // It tells of its progress batch by batch; once it has done something, it dies in the middle of one of the next.
        for (let told = ''; !/ [1-9]\d* sealed anew/.test(told);)
          told += String((await Promise.race([once(child.stderr!, 'data'), endedEarly(child)]))[0]);
        await sleep(150 + 100 * Math.random());
        const ended = once(child, 'exit');
        child.kill('SIGKILL');
        expect(await ended).toEqual([null, 'SIGKILL']);
        const now = await sealedWith(grants, 'test');
        expect(now).toBeLessThan(left);
        left = now;
      }
      expect(left).toBeGreaterThan(0);
      const last = rekey();
      last.stdout!.resume();
      last.stderr!.resume();
      expect((await once(last, 'exit'))[0]).toBe(0);
      expect(await sealedWith(grants, 'test')).toBe(0);
    } finally {
      await load.stop();
      for (const child of children) child.kill('SIGKILL');
    }
    expect(load.failures).toEqual([]);
    expect(load.refreshes).toBeGreaterThan(10);
    expect(load.logins).toBeGreaterThan(2);
    // Whoever knows the new key alone opens everything, and every grant works.
    const later = await grants.another({ encryption: { keys: [NEW] } });
    await grants.expire();
    for (const { id } of seeded.slice(0, 100)) expect((await later.tokens.getAccessToken(id)).value).toBeTruthy();
    expect(await later.app.get(Rekeyer).rekey()).toEqual({ resealed: 0, failed: 0 });
    expect(grants.provider.counters).toMatchObject({ refreshReuses: 0, familiesRevoked: 0 });
  });

  it('goes on where conflicts end its statements', async () => {
    await using grants = await startGrants({ oauth: { encryption: { keys: [NEW, OLD] } } });
    await seedGrants(grants, 3);
    await grants.database.query(`
      create sequence conflicts;
      create function conflict() returns trigger language plpgsql as $$
      begin
        if nextval('conflicts') <= 3 then raise exception 'could not serialize' using errcode = '40001'; end if;
        return new;
      end $$;
      create trigger conflict before update on oauth_grants for each row execute function conflict();`);
    const child = rekeying(grants);
    child.stdout!.resume();
    child.stderr!.resume();
    expect((await once(child, 'exit'))[0]).toBe(0);
    expect(await sealedWith(grants, 'test')).toBe(0);
  });

  it('works with an asynchronous key ring under load, and goes on where the ring was away', async () => {
    const keyRing = new RemoteRing();
    await using grants = await startGrants({ oauth: { encryption: { keyRing } } });
    const seeded = await seedGrants(grants, 60);
    keyRing.currentKeyId = 'new';
    const rekeyer = grants.app.app.get(Rekeyer);
    const load = new Load(
      grants,
      seeded.map(({ id }) => id),
    );
    try {
      // The ring turns some away: what fails stays as it is, sealed with a key that is still there.
      keyRing.failing = true;
      const first = await rekeyer.rekey({ batchSize: 7 });
      expect(first.failed).toBeGreaterThan(0);
      keyRing.failing = false;
      const left = await sealedWith(grants, 'test');
      expect(left).toBeGreaterThan(0);
      const second = await rekeyer.rekey({ batchSize: 7 });
      expect(second.failed).toBe(0);
      expect(await sealedWith(grants, 'test')).toBe(0);
    } finally {
      keyRing.failing = false;
      await load.stop();
    }
    expect(load.refreshes).toBeGreaterThan(5);
    expect(keyRing.most).toBeGreaterThan(1);
    await grants.expire();
    for (const { id } of seeded) expect((await grants.tokens.getAccessToken(id)).value).toBeTruthy();
    expect(grants.provider.counters).toMatchObject({ refreshReuses: 0, familiesRevoked: 0 });
  });
});

/** A ring far away, with two keys. While it is failing it refuses to wrap with the new one, every third time. */
class RemoteRing extends KeyRing {
  readonly #keys = [OLD, NEW].map(
    ({ id, secret }) => [id, new LocalKeyRing([{ id, bytes: Buffer.from(secret, 'base64url') }])] as const,
  );
  currentKeyId = 'test';
  failing = false;
  /** Requests under way at most. */
  most = 0;
  #now = 0;
  #wraps = 0;

  get keyIds(): readonly string[] {
    return this.#keys.map(([id]) => id);
  }

  async wrap(contentKey: Uint8Array): Promise<WrappedKey> {
    const ring = this.#ring(this.currentKeyId);
    // Only what the load does not depend on: refreshes keep their answer and try again.
    if (this.failing && (this.#wraps += 1) % 3 === 0) throw new Error('the ring is away');
    return this.#after(() => ring.wrap(contentKey));
  }

  async unwrap(keyId: string, encryptedKey: Uint8Array): Promise<Uint8Array> {
    return this.#after(() => this.#ring(keyId).unwrap(keyId, encryptedKey));
  }

  #ring(keyId: string): LocalKeyRing {
    return this.#keys.find(([id]) => id === keyId)![1];
  }

  async #after<T>(work: () => T | Promise<T>): Promise<T> {
    this.most = Math.max(this.most, (this.#now += 1));
    await sleep(1 + 4 * Math.random());
    this.#now -= 1;
    return work();
  }
}
