// @ts-check
// Who owns a cluster's folder, and the sweeping of clusters whose owner was killed before it could stop them.
// Only folders written by this user on this machine are looked at, and only a process that proves to be the Postgres
// of such a folder is ended: a process id alone proves nothing, ids are used again.
import { execFileSync } from 'node:child_process';
import { lstatSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { temporaryFolders } from './embedded-binaries.mjs';

/** How the names of temporary cluster folders begin. */
export const FOLDER_PREFIX = 'nest-oauth-client-pg-';

/** A folder without an owner's record is being made just now, unless it is older than this, in milliseconds. */
const UNRECORDED_AGE = 600_000;

/** Writes this process down as the owner of a cluster's folder. @param {string} folder */
export function recordOwner(folder) {
  const record = { host: hostname(), pid: process.pid, started: startOf(process.pid) };
  writeFileSync(join(folder, 'owner.json'), JSON.stringify(record));
}

/**
 * Who has the cluster in `folder`: `'alive'` when its owner is running, `'elsewhere'` when the record was written on
 * another host (a container that shares the folder), `'gone'` when the owner has ended, `'unknown'` without a record.
 *
 * @param {string} folder
 * @returns {'alive' | 'elsewhere' | 'gone' | 'unknown'}
 */
export function ownerOf(folder) {
  try {
    const { host, pid, started } = JSON.parse(readFileSync(join(folder, 'owner.json'), 'utf8'));
    if (host !== hostname()) return 'elsewhere';
    const now = startOf(pid);
    return now !== undefined && now === started ? 'alive' : 'gone';
  } catch {
    return 'unknown';
  }
}

/**
 * The id of the Postgres that runs in `folder`, if it truly is one started there.
 *
 * @param {string} folder
 * @returns {number | undefined}
 */
export function serverOf(folder) {
  const data = join(folder, 'data');
  try {
    const pid = Number(readFileSync(join(data, 'postmaster.pid'), 'utf8').split('\n')[0]);
    return Number.isInteger(pid) && pid > 1 && commandOf(pid).includes(data) ? pid : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Ends the Postgres in `folder`, if one runs there.
 *
 * @param {string} folder
 * @param {'SIGINT' | 'SIGQUIT'} how `SIGINT` lets it finish its files, `SIGQUIT` is for data that will be deleted.
 */
export async function endServer(folder, how) {
  const pid = serverOf(folder);
  if (pid === undefined) return;
  for (const [signal, patience] of /** @type {const} */ ([
    [how, 10_000],
    ['SIGQUIT', 5_000],
    ['SIGKILL', 2_000],
  ])) {
    process.kill(pid, signal);
    for (const end = Date.now() + patience; Date.now() < end; await sleep(20)) {
      if (startOf(pid) === undefined) return;
    }
  }
}

/**
 * Removes the temporary clusters whose owner is gone.
 *
 * @returns {Promise<string[]>} The folders removed.
 */
export async function sweepStaleClusters() {
  const removed = [];
  for (const parent of temporaryFolders()) {
    for (const name of readdirSync(parent).filter((entry) => entry.startsWith(FOLDER_PREFIX))) {
      const folder = join(parent, name);
      if (!isStale(folder)) continue;
      await endServer(folder, 'SIGQUIT');
      rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
      removed.push(folder);
    }
  }
  return removed;
}

/** @param {string} folder */
function isStale(folder) {
  const about = lstatSync(folder, { throwIfNoEntry: false });
  if (!about?.isDirectory() || about.uid !== (process.getuid?.() ?? about.uid)) return false;
  const owner = ownerOf(folder);
  return owner === 'gone' || (owner === 'unknown' && Date.now() - about.mtimeMs > UNRECORDED_AGE);
}

/**
 * When a process started, as text that only serves to be compared: a later process with the same id has another one.
 *
 * @param {number} pid
 * @returns {string | undefined} `undefined` when no such process runs (one that has ended but was not reaped counts as such).
 */
function startOf(pid) {
  try {
    if (process.platform !== 'linux') return ps(pid, 'lstart');
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /s, '')
      .split(' ');
    return fields[0] === 'Z' ? undefined : fields[19];
  } catch {
    return undefined;
  }
}

/** @param {number} pid */
function commandOf(pid) {
  if (process.platform !== 'linux') return ps(pid, 'args');
  return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
}

/** @param {number} pid @param {string} column */
function ps(pid, column) {
  return execFileSync('ps', ['-o', `${column}=`, '-p', String(pid)], { stdio: ['ignore', 'pipe', 'ignore'] })
    .toString()
    .trim();
}
