// The load on one route: wrk where it is installed, else autocannon. Both send the given cookies in turn, from a
// shuffled list, and report requests, latencies, answers that were not 2xx (`refused`) and connections that broke (`failed`).
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { pinned } from './cores.mjs';

const hasWrk = spawnSync('wrk', ['-v']).error === undefined;
const script = fileURLToPath(new URL('./cookies.lua', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'nest-oauth-load-'));
process.once('exit', () => rmSync(folder, { recursive: true, force: true }));

/** The generator in use, for the report. */
export const generator = hasWrk ? 'wrk' : 'autocannon';

let files = 0;
/** Writes a list of Cookie headers once, to be used by many rounds. */
export function cookieFile(cookies) {
  const path = join(folder, `cookies-${files++}.txt`);
  writeFileSync(path, cookies.join('\n') + '\n');
  return { path, cookies };
}

/** @param [until] milliseconds after which it is asked to come to an end */
function run(command, args, until) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    const ending = until === undefined ? undefined : setTimeout(() => child.kill('SIGINT'), until);
    let out = '';
    let err = '';
    child.stdout.on('data', (chunk) => (out += chunk));
    child.stderr.on('data', (chunk) => (err += chunk));
    child.once('error', reject);
    child.once('close', (code) => {
      clearTimeout(ending);
      if (code === 0) resolve(out);
      else reject(new Error(`${command} ended with ${code}: ${err}${out}`));
    });
  });
}

async function withWrk({ url, list, connections, seconds }) {
  const [command, ...args] = pinned('load', [
    ...['wrk', '-t1', `-c${connections}`, `-d${Math.ceil(seconds)}s`, '--timeout', '10s', '-s', script, url],
    ...['--', list.path],
  ]);
  // It knows whole seconds; interrupted, it ends within a tenth of one and reports the time that it had.
  const out = await run(command, args, Number.isInteger(seconds) ? undefined : seconds * 1000);
  const line = out.split('\n').find((text) => text.startsWith('{'));
  if (!line) throw new Error(`wrk said nothing usable: ${out}`);
  return JSON.parse(line);
}

async function withAutocannon({ url, list, connections, seconds }) {
  const { default: autocannon } = await import('autocannon');
  const requests = list.cookies.map((cookie) => ({ method: 'GET', headers: { cookie } }));
  const result = await autocannon({ url, connections, duration: seconds, requests, workers: 1 });
  return {
    requests: result.requests.total,
    seconds: result.duration,
    failed: result.errors + result.timeouts,
    refused: result.non2xx,
    p50Ms: result.latency.p50,
    p99Ms: result.latency.p99,
  };
}

/**
 * @param {{ url: string, list: { path: string, cookies: string[] }, connections: number, seconds: number }} load
 *   cookies from the first one on; with wrk, fractions of seconds are kept to within a tenth, with autocannon to within one
 * @returns {Promise<{ requests: number, seconds: number, failed: number, refused: number, p50Ms: number, p99Ms: number }>}
 */
export const fire = (load) => (hasWrk ? withWrk(load) : withAutocannon(load));
