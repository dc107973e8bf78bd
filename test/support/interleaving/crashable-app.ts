// An application that can be cut off from database and provider at any moment: seen from there, it was killed.
import { AsyncLocalStorage } from 'node:async_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { LeaseRepository } from '../../../src/grants/lease.repository.js';
import { LeaseWatch } from '../../../src/grants/lease-watch.service.js';
import { KeyRing, LocalKeyRing, oauth2, type WrappedKey } from '../../../src/index.js';
import type { FakeProvider } from '../../../src/testing/index.js';
import { type RunningApp, startApp } from '../app.js';
import { type QueryLog, startQueryLog } from '../query-log.js';
import { startTcpProxy, type TcpProxy } from '../tcp-proxy.js';

/** What the grants of the two providers belong to; both are the same server. */
export const PROVIDERS = ['account', 'session'] as const;

/** Keys of all applications; which one is the current one differs. */
export const KEYS = ['k1', 'k2'].map((id) => ({ id, secret: Buffer.alloc(32, `key ${id}`).toString('base64url') }));

/** Whoever seals inside waits for this first: what holds up one change of keys holds up nobody else. */
export const sealingHeldUp = new AsyncLocalStorage<Promise<void>>();

/** A ring that takes its time now and then, so that much can happen between reading a value and writing it. */
class LingeringRing extends KeyRing {
  readonly #inner: LocalKeyRing;

  constructor(keys: readonly (typeof KEYS)[number][]) {
    super();
    this.#inner = new LocalKeyRing(keys.map(({ id, secret }) => ({ id, bytes: Buffer.from(secret, 'base64url') })));
  }

  get currentKeyId(): string {
    return this.#inner.currentKeyId;
  }

  get keyIds(): readonly string[] {
    return this.#inner.keyIds;
  }

  async wrap(contentKey: Uint8Array): Promise<WrappedKey> {
    await sealingHeldUp.getStore();
    if (Math.random() < 0.4) await sleep(30 * Math.random());
    return this.#inner.wrap(contentKey);
  }

  unwrap(keyId: string, encryptedKey: Uint8Array): Uint8Array {
    return this.#inner.unwrap(keyId, encryptedKey);
  }
}

/** One application with its own ways to database and provider. */
export class CrashableApp {
  /** Owners of the leases it took. */
  readonly owners = new Set<string>();
  /** Those of them under which it said that it is about to refresh. */
  readonly noted = new Set<string>();

  private constructor(
    readonly name: string,
    readonly app: RunningApp,
    readonly log: QueryLog,
    private readonly way: TcpProxy,
  ) {}

  /** @param currentKey index in {@link KEYS} */
  static async start(
    name: string,
    { database, provider, currentKey }: { database: string; provider: FakeProvider; currentKey: number },
  ): Promise<CrashableApp> {
    const [log, way] = await Promise.all([startQueryLog({ url: database }), startTcpProxy({ target: provider.url })]);
    const behind = `http://127.0.0.1:${way.port}`;
    const app = await startApp({
      database: log.url,
      providers: PROVIDERS.map((grant) =>
        oauth2({
          ...{
            name: `of-${grant}`,
            grant,
            clientId: 'client',
            clientSecret: 'secret',
            timeout: 20_000,
            scope: ['all'],
          },
          authorizationEndpoint: provider.endpoint('authorize'),
          tokenEndpoint: `${behind}/token?by=${name}`,
          revocationEndpoint: `${behind}/revoke`,
          apiOrigins: [provider.url],
          profile: async ({ json }) => {
            const { sub } = (await json(provider.endpoint('userinfo'))) as { sub: string };
            return { subject: sub };
          },
        }),
      ),
      oauth: {
        encryption: { keyRing: new LingeringRing([KEYS[currentKey]!, KEYS[1 - currentKey]!]) },
        cleanup: false,
        refresh: { floor: 0 },
      },
    });
    const one = new CrashableApp(name, app, log, way);
    log.decide = (statement) => {
      if (/set lease_owner = \$3/.test(statement.sql)) one.owners.add(statement.parameters[2]!);
      if (/set refresh_sent_at = clock_timestamp/.test(statement.sql)) one.noted.add(statement.parameters[2]!);
      return 'pass';
    };
    return one;
  }

  /** Whatever it knew is lost, and it never says anything again. */
  async crash(): Promise<void> {
    for (const proxy of [this.log.proxy, this.way]) {
      await proxy.refuse();
      proxy.cut();
    }
    // Only so that nothing of it lives on in the test: callers that wait here would do so for a long time, and an answer
    // that was not written yet would be tried again until its lease ends.
    this.app.app.get(LeaseRepository).writeBack = () => Promise.resolve({ version: 0, expires_at: null });
    this.app.app.get(LeaseWatch).close();
    this.app.close().catch(() => undefined);
  }

  /** Loses one write of a refreshed token, or its answer. */
  hiccup(fate: 'cut' | 'lose-answer'): void {
    const pass = this.log.decide!;
    this.log.decide = (statement) => {
      pass(statement);
      if (!statement.sql.includes('with written as')) return 'pass';
      this.log.decide = pass;
      return fate;
    };
  }

  async close(): Promise<void> {
    await this.app.close();
    await Promise.all([this.log.close(), this.way.close()]);
  }
}
