// PgBouncer in transaction mode in front of the test server: each transaction may meet another server connection, and
// what belongs to a connection (prepared statements, LISTEN, settings) is lost or somebody else's.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, chownSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from './app.js';
import { testServerUrl } from './database.js';
import { serverUser } from './embedded-binaries.mjs';
import { findProgram } from './programs.js';

/** A running PgBouncer. */
export interface PgBouncer extends AsyncDisposable {
  /** The same database through it; URLs of other servers (proxies of a test) stay as they are. */
  through(url: string): string;
}

/** The program to run: `PGBOUNCER_PATH`, or what is found on this machine, or null. */
export function findPgBouncer(): string | null {
  return process.env.PGBOUNCER_PATH || findProgram(['pgbouncer'], ['/usr/sbin', '/usr/local/sbin', '/usr/bin']);
}

/**
 * Starts it, with few server connections per database, so that clients really share them.
 *
 * @throws {Error} Where there is none.
 */
export async function startPgBouncer(): Promise<PgBouncer> {
  const program = findPgBouncer();
  if (program === null)
    throw new Error('No PgBouncer on this machine. Install it (apt-get install pgbouncer) or set PGBOUNCER_PATH.');
  const server = new URL(testServerUrl());
  const port = await freePort();
  const folder = mkdtempSync(join(tmpdir(), 'oauth-pgbouncer-'));
  const settings = join(folder, 'pgbouncer.ini');
  const [name, password] = [server.username, server.password].map(decodeURIComponent);
  writeFileSync(
    settings,
    `[databases]
* = host=${server.hostname} port=${server.port || 5432} user=${name} password=${password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 4
max_client_conn = 1000
server_idle_timeout = 5
`,
    { mode: 0o600 },
  );
  // It refuses to run as root, as Postgres does.
  const user = serverUser();
  if (user) for (const path of [folder, settings]) chownSync(path, user.uid, user.gid);
  chmodSync(folder, 0o755);
  const child = spawn(program, ['-q', settings], { ...user, cwd: '/', stdio: ['ignore', 'pipe', 'pipe'] });
  const said: string[] = [];
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => said.push(String(chunk)));
  await listening(child, port).catch((failure: unknown) => {
    child.kill('SIGKILL');
    rmSync(folder, { recursive: true, force: true });
    throw new Error(`PgBouncer did not start: ${said.join('')}`, { cause: failure });
  });
  return {
    through(url) {
      const target = new URL(url);
      if (target.host !== server.host) return url;
      return Object.assign(target, { hostname: '127.0.0.1', port: String(port) }).href;
    },
    async [Symbol.asyncDispose]() {
      const ended = once(child, 'exit');
      child.kill('SIGKILL');
      await ended;
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

async function listening(child: ChildProcess, port: number): Promise<void> {
  child.on('error', () => {});
  for (const end = performance.now() + 10_000; performance.now() < end; await sleep(30)) {
    if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) throw new Error('it ended');
    const socket = connect(port, '127.0.0.1');
    const open = await Promise.race([
      once(socket, 'connect').then(() => true),
      once(socket, 'close').then(() => false),
    ]).catch(() => false);
    socket.destroy();
    if (open) return;
  }
  throw new Error('it does not listen');
}
