// One process of an application with the coherent cache, for tests with several: started by `startSessionProcess`, told
// everything on the command line, asked by messages. Run it with `--import ./typescript.mjs`.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { oidc } from '../../src/index.js';
import { sha256Base64 } from '../../src/crypto/digest.js';
import { SessionCache } from '../../src/sessions/session-cache.service.js';
import { type Platform, startApp } from './app.js';

/** What a process is started with. */
export interface SessionProcessOptions {
  platform: Platform;
  database: string;
  /** Connection for `LISTEN`. */
  listenUrl: string;
  issuer: string;
  port: number;
  /** The same for all processes, as behind a load balancer. */
  baseUrl: string;
  /** Seconds. */
  stalenessBound: number;
}

/** A running process. */
export interface SessionProcess extends AsyncDisposable {
  readonly pid: number;
  /** Where it listens. */
  readonly url: string;
  /** Whether the cache may be believed, and holds the session of this cookie value. */
  state(token: string): Promise<{ coherent: boolean; held: boolean }>;
}

/** Starts a process and waits until it listens. */
export async function startSessionProcess(options: SessionProcessOptions): Promise<SessionProcess> {
  const hooks = fileURLToPath(new URL('./typescript.mjs', import.meta.url));
  const { NODE_OPTIONS: _options, JEST_WORKER_ID: _worker, ...inherited } = process.env;
  const child = fork(fileURLToPath(new URL('./session-process.ts', import.meta.url)), [JSON.stringify(options)], {
    ...{ env: inherited, stdio: ['ignore', 'ignore', 'pipe', 'ipc'] },
    execArgv: ['--no-warnings', '--import', `file://${hooks}`],
  });
  let said = '';
  child.stderr?.on('data', (chunk: Buffer) => (said = (said + chunk.toString()).slice(-4000)));
  const ended = once(child, 'exit');
  const first = await Promise.race([once(child, 'message'), ended]);
  if (first[0] !== 'ready') throw new Error(`the process ended before it listened: ${said}`);
  let asked = 0;
  return {
    pid: child.pid!,
    url: `http://localhost:${options.port}`,
    state: (token) =>
      new Promise((answered) => {
        const question = { id: ++asked, token };
        const hear = (message: unknown): void => {
          const { id, ...state } = message as { id: number; coherent: boolean; held: boolean };
          if (id !== question.id) return;
          child.off('message', hear);
          answered(state);
        };
        child.on('message', hear);
        child.send(question);
      }),
    [Symbol.asyncDispose]: async () => {
      child.kill('SIGKILL');
      await ended;
    },
  };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const options = JSON.parse(process.argv[2]!) as SessionProcessOptions;
  const { app } = await startApp({
    ...{ platform: options.platform, database: options.database, port: options.port, baseUrl: options.baseUrl },
    providers: [oidc({ name: 'fake', issuer: options.issuer, clientId: 'client', clientSecret: 'secret' })],
    oauth: {
      listen: { url: options.listenUrl },
      session: { cache: 'coherent', stalenessBound: options.stalenessBound },
      databaseTimeout: 2_000,
      cleanup: false,
    },
  });
  const cache = app.get(SessionCache, { strict: false });
  process.on('message', ({ id, token }: { id: number; token: string }) => {
    const held = cache.get(sha256Base64(token)) !== undefined;
    process.send?.({ id, coherent: cache.isCoherent, held });
  });
  // Nobody is left to end it in order.
  process.on('disconnect', () => process.exit());
  process.send?.('ready');
}
