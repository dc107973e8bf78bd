// A short walk through the fuzzer in a process of its own, so that a crash is a crash. The long one is `npm run fuzz`.
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { fixedSeed } from '../support/fixed-seed.js';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

it('survives 2,000 hostile callbacks, cookies, return addresses, routes, token answers, ID tokens and logout tokens', async () => {
  const args = ['--no-warnings', '--import', './test/support/typescript.mjs', 'test/fuzz/main.ts'];
  const { NODE_OPTIONS: _, ...env } = process.env;
  const settings = { FUZZ_CASES: '2000', FUZZ_SEED: String(fixedSeed), ...env, INTERLEAVINGS: '0' };
  const child = spawn(process.execPath, args, { cwd: ROOT, env: settings });
  let said = '';
  child.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()));
  const code = await new Promise((resolve) => child.on('close', resolve));
  expect([code, said]).toEqual([0, expect.stringMatching(/\n2\d{3} cases in [\d.]+ s, seed \d+, 0 failures\n$/)]);
}, 300_000);
