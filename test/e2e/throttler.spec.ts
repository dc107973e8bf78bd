// Rate limiting by @nestjs/throttler, set up as docs/security.md shows it.
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { platforms } from '../support/app.js';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

it.each(platforms)(
  'E-057 @nestjs/throttler works out of the box on %s: 429 with Retry-After, no row, no cookie, and what was begun is finished',
  async (platform) => {
    const { NODE_OPTIONS: _, ...env } = process.env;
    const args = ['--no-warnings', '--import', './test/support/typescript.mjs', 'test/support/throttled.ts', platform];
    const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: ROOT, env });
    expect(JSON.parse(stdout)).toEqual({
      refused: 429,
      retryAfter: expect.stringMatching(/^[1-9]\d*$/),
      cookies: [],
      states: 5,
      done: [303, true, 200],
      session: [401, 401, 401, 401, 401, 429],
    });
  },
);
