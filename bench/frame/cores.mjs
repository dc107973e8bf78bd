// Which core does what, and how much processor time a process has used: the Node server alone on one core, the load
// generator, the provider and Postgres on the other; with three or more cores Postgres has its own.
import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync, readdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';

const cores = availableParallelism();
const taskset = process.platform === 'linux' && cores >= 2 && spawnSync('taskset', ['--version']).status === 0;

/** The placement in words, for the report. */
export const placement = !taskset
  ? 'not pinned (no taskset, or one core)'
  : cores === 2
    ? 'Node server on core 0; load, provider and Postgres on core 1'
    : `Node server on core 0; load and provider on core 1; Postgres on cores 2-${cores - 1}`;

/**
 * The command line that runs `command` on its role's core.
 *
 * @param {'server' | 'load' | 'postgres' | 'any'} role
 * @param {string[]} command
 */
export function pinned(role, command) {
  return !taskset || role === 'any' ? command : ['taskset', '-c', coresOf(role), ...command];
}

function coresOf(role) {
  if (role === 'any') return `0-${cores - 1}`;
  if (role === 'server') return '0';
  return role === 'load' || cores === 2 ? '1' : `2-${cores - 1}`;
}

/** Moves a running process, and what it starts from now on, to its role's core. */
export function place(pid, role) {
  if (taskset) spawnSync('taskset', ['-a', '-p', '-c', coresOf(role), String(pid)], { stdio: 'ignore' });
}

/** Puts this very process (the runner, and the load it makes itself) on the load's core. */
export const pinSelf = () => place(process.pid, 'load');

const tick = process.platform === 'linux' ? Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' })) : 100;

function stat(pid) {
  const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  // Fields 14-17 of proc(5): utime, stime, and those of children that have ended.
  return {
    parent: Number(fields[1]),
    own: Number(fields[11]) + Number(fields[12]),
    ended: Number(fields[13]) + Number(fields[14]),
  };
}

/**
 * Milliseconds of processor time a process has used so far, all threads; with `family`, also its living and ended
 * children, which for a postmaster means every backend. `NaN` where there is no /proc.
 */
export function cpuMs(pid, { family = false } = {}) {
  if (process.platform !== 'linux') return Number.NaN;
  const self = stat(pid);
  let ticks = self.own;
  if (family) {
    ticks += self.ended;
    for (const name of readdirSync('/proc')) {
      if (!/^\d+$/.test(name)) continue;
      try {
        const child = stat(name);
        if (child.parent === pid) ticks += child.own;
      } catch {
        // Ended between the listing and the reading; the postmaster counts it from then on.
      }
    }
  }
  return (ticks * 1000) / tick;
}

/** Resident memory of a process in MiB; `NaN` where there is no /proc. */
export function residentMb(pid) {
  if (process.platform !== 'linux') return Number.NaN;
  const line = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  return Number(line?.[1]) / 1024;
}
