// Starts the processes under test, each on its core, and ends them: one process per variant, spoken to over IPC.
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { pinned } from './cores.mjs';

const entry = fileURLToPath(new URL('../apps/main.mjs', import.meta.url));
const running = new Set();
process.once('exit', () => running.forEach((child) => child.kill('SIGKILL')));

/**
 * Starts a script that sends `{ ready: … }` when it listens.
 *
 * @param {string} script
 * @param {object} options sent to the script as JSON in its first argument
 * @param {{ role?: 'server' | 'load' | 'any', profile?: string, flags?: string[] }} [how] `flags` of Node itself
 */
export async function startProcess(script, options, { role = 'server', profile, flags = [] } = {}) {
  const node = [process.execPath, ...flags, ...(profile ? ['--cpu-prof', `--cpu-prof-dir=${profile}`] : [])];
  const [command, ...args] = pinned(role, [...node, script, JSON.stringify(options)]);
  const child = spawn(command, args, {
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    env: { ...process.env, NODE_ENV: 'production', NODE_NO_WARNINGS: '1' },
  });
  running.add(child);
  let log = '';
  child.stderr?.on('data', (chunk) => (log = (log + chunk).slice(-3000)));
  const ready = await new Promise((resolve, reject) => {
    child.on('message', (message) => {
      if (message.ready) resolve(message.ready);
      if (message.failed) reject(new Error(`${options.variant ?? script}: ${message.failed}`));
    });
    child.once('exit', (code) => reject(new Error(`${options.variant ?? script} ended with ${code}: ${log}`)));
  });
  let call = 0;
  return {
    ...ready,
    pid: /** @type {number} */ (child.pid),
    /** Asks the process something (`{ name: value }`) and waits for the answer. */
    ask: (question) =>
      new Promise((resolve, reject) => {
        const id = ++call;
        const gone = () => reject(new Error(`${options.variant ?? script} ended: ${log}`));
        child.once('exit', gone);
        child.on('message', function answer(message) {
          if (message.id !== id) return;
          child.off('message', answer);
          child.off('exit', gone);
          if (message.error) reject(new Error(message.error));
          else resolve(message.value);
        });
        child.send({ id, question });
      }),
    log: () => log,
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const ended = new Promise((resolve) => child.once('exit', resolve));
      child.send({ stop: true });
      const patience = setTimeout(() => child.kill('SIGKILL'), 5000);
      await ended;
      clearTimeout(patience);
      running.delete(child);
    },
  };
}

/** Starts a variant's application. */
export const startApp = (options, how) => startProcess(entry, options, how);
