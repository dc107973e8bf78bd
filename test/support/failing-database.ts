// A login bench whose database can be cut, stalled and restarted at any statement.
import { setTimeout as sleep } from 'node:timers/promises';
import { type LoginFixture, startLogin } from './login-fixture.js';
import { startQueryLog, type QueryLog } from './query-log.js';
import { startTcpProxy, type TcpProxy } from './tcp-proxy.js';
import { testServerUrl } from './database.js';

/** How the database fails at a statement. */
export type Trouble = 'cut' | 'lose-answer' | 'stall' | 'restart';

/** See {@link startOnFailingDatabase}. */
export interface FailingDatabase extends AsyncDisposable {
  readonly at: LoginFixture;
  /** Between application and server. */
  readonly proxy: TcpProxy;
  /** The statements, and their fates. */
  readonly log: QueryLog;
  /** Resets all connections and refuses new ones. */
  down(): Promise<void>;
  /** Lets trouble happen at the first statement that fits. @returns how often it happened so far */
  troubleAt(trouble: Trouble, fits: (sql: string) => boolean): () => number;
  /** Ends all trouble. */
  recover(): Promise<void>;
}

/** Starts application, provider and database, with everything that can fail in between. */
export async function startOnFailingDatabase(
  options: Omit<Parameters<typeof startLogin>[0] & {}, 'through'> = {},
): Promise<FailingDatabase> {
  const proxy = await startTcpProxy({ target: testServerUrl() });
  const log = await startQueryLog({ url: proxy.urlFor(testServerUrl()) });
  const through = (url: string): string => Object.assign(new URL(log.url), { pathname: new URL(url).pathname }).href;
  const at = await startLogin({ ...options, through });
  const down = async (): Promise<void> => {
    await proxy.refuse();
    proxy.cut();
  };
  return {
    at,
    proxy,
    log,
    down,
    troubleAt(trouble, fits) {
      let times = 0;
      log.decide = ({ sql }) => {
        if (times > 0 || !fits(sql)) return 'pass';
        times += 1;
        if (trouble === 'stall') proxy.stall();
        // As of a server that needs a moment to start again.
        if (trouble === 'restart') void down().then(async () => sleep(300).then(() => proxy.allow()));
        return trouble === 'cut' || trouble === 'restart' ? 'cut' : trouble === 'stall' ? 'pass' : 'lose-answer';
      };
      return () => times;
    },
    async recover() {
      log.decide = undefined;
      await proxy.resume();
    },
    async [Symbol.asyncDispose]() {
      log.decide = undefined;
      await proxy.resume();
      await at.close();
      await log.close();
      await proxy.close();
    },
  };
}
