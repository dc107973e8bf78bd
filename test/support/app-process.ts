// An application in a process of its own, for what only signals can show.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { setTimeout as sleep } from 'node:timers/promises';
import type { OAuthModuleOptions } from '../../src/index.js';
import type { FakeProvider } from '../../src/testing/index.js';

/** What {@link startAppProcess} needs. */
export interface AppProcessOptions {
  port: number;
  /** Connection URL. */
  database: string;
  provider: FakeProvider;
  /** Deadline of the provider, milliseconds. @defaultValue 2000 */
  timeout?: number;
  /** Options that survive JSON. */
  oauth?: Partial<OAuthModuleOptions>;
}

/** A running process. */
export interface AppProcess extends AsyncDisposable {
  readonly url: string;
  /** Sends a signal and waits for the end. @returns milliseconds that it took; throws when it takes too long */
  end(signal: NodeJS.Signals, patience?: number): Promise<number>;
}

/** Starts an application with one provider, listening on the port. */
export async function startAppProcess({ provider, timeout = 2_000, ...rest }: AppProcessOptions): Promise<AppProcess> {
  const { issuer, url, apiUrl } = provider;
  const settings = { ...rest, timeout, provider: { issuer, url, apiUrl } };
  const worker = fileURLToPath(new URL('./app-process-worker.mjs', import.meta.url));
  const child = spawn(process.execPath, ['--no-warnings', worker], {
    env: { ...process.env, NODE_OPTIONS: '', APP_SETTINGS: JSON.stringify(settings) },
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  });
  const said: string[] = [];
  child.stderr!.on('data', (chunk) => said.push(String(chunk)));
  const started = await Promise.race([
    once(child, 'message').then(() => true),
    once(child, 'exit').then(() => false),
    sleep(40_000, false, { ref: false }),
  ]);
  if (!started) {
    child.kill('SIGKILL');
    throw new Error(`the application did not start: ${said.join('')}`);
  }
  const end = (signal: NodeJS.Signals, patience = 15_000): Promise<number> => ended(child, signal, patience);
  return {
    url: `http://localhost:${rest.port}`,
    end,
    async [Symbol.asyncDispose]() {
      await end('SIGKILL');
    },
  };
}

async function ended(child: ChildProcess, signal: NodeJS.Signals, patience: number): Promise<number> {
  if (child.exitCode !== null || child.signalCode !== null) return 0;
  const began = performance.now();
  const exit = once(child, 'exit').then(() => true);
  child.kill(signal);
  if (await Promise.race([exit, sleep(patience, false, { ref: false })])) return performance.now() - began;
  child.kill('SIGKILL');
  throw new Error(`the process still lived ${patience} ms after ${signal}`);
}
