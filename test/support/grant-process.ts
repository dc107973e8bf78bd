// A process of its own that refreshes tokens and ends sessions, so that a test can kill it in the middle of something.
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { TEST_KEY } from './app.js';
import type { Grants } from './grants.js';

const program = fileURLToPath(new URL('./grant-process.mjs', import.meta.url));

/** A running process. */
export class GrantProcess implements AsyncDisposable {
  #asked = 0;

  private constructor(readonly child: ChildProcess) {}

  /** Starts one on the database and the provider of a test. */
  static async start({ database, provider }: Grants): Promise<GrantProcess> {
    const settings = {
      database: database.url,
      keys: [{ id: 'test', secret: TEST_KEY }],
      provider: {
        name: 'fake',
        issuer: provider.issuer,
        clientId: 'client',
        clientSecret: 'secret',
        timeout: 2_000,
      },
    };
    const env = { ...process.env, GRANT_PROCESS: JSON.stringify(settings), NODE_OPTIONS: '' };
    const child = fork(program, { env, execArgv: ['--no-warnings'], stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
    const one = new GrantProcess(child);
    await one.#answer('ready');
    return one;
  }

  /** The access token of a grant. */
  async token(grantId: string): Promise<string> {
    return (await this.#ask({ act: 'token', grantId })) as string;
  }

  /** Ends a session as a logout does. */
  async endSession(userId: string, sessionId: string): Promise<boolean> {
    return (await this.#ask({ act: 'endSession', userId, sessionId })) as boolean;
  }

  /** SIGKILL: nothing is finished, nothing is given back. */
  async kill(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const ended = once(this.child, 'exit');
    this.child.kill('SIGKILL');
    await ended;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.kill();
  }

  #ask(message: object): Promise<unknown> {
    const id = String((this.#asked += 1));
    const answer = this.#answer(id);
    this.child.send({ id, ...message });
    return answer;
  }

  #answer(id: string): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const onMessage = (message: { id: string; result?: unknown; error?: string }): void => {
        if (message.id !== id) return;
        this.child.off('message', onMessage).off('exit', onExit);
        if (message.error === undefined) resolve(message.result);
        else reject(new Error(message.error));
      };
      const onExit = (code: number | null, signal: string | null): void =>
        reject(new Error(`the process ended: ${code ?? signal}`));
      this.child.on('message', onMessage).on('exit', onExit);
    });
  }
}
