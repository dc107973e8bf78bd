// `npm start` as a newcomer meets it: it says where to click, ends on Ctrl-C, and explains what stands in its way.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { createServer, type AddressInfo, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { freePort } from '../support/app.js';
import { UserAgent } from '../support/user-agent.js';

const MAIN = fileURLToPath(new URL('../../examples/demo/main.mjs', import.meta.url));

interface Demo {
  readonly child: ChildProcess;
  readonly ended: Promise<number | null>;
  said(): string;
  /** Waits for a text. @throws {Error} When the demo ends without having said it. */
  says(text: string): Promise<void>;
}

describe('npm start', () => {
  const folder = mkdtempSync(join(tmpdir(), 'nest-oauth-client-demo-'));
  const started: ChildProcess[] = [];
  let ports: { PORT: string; IDENTITY_PORT: string };
  let url: string;

  beforeAll(async () => {
    ports = { PORT: String(await freePort()), IDENTITY_PORT: String(await freePort()) };
    url = `http://localhost:${ports.PORT}`;
  });
  afterAll(async () => {
    for (const child of started.filter(({ exitCode, signalCode }) => exitCode === null && signalCode === null)) {
      child.kill('SIGTERM');
      await once(child, 'exit');
    }
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  });

  it('says where to click, and logs in there; a second start keeps the session', async () => {
    const first = start();
    await first.says('Ctrl-C ends everything');
    expect(first.said()).toContain(`Open  ${url}  and click "Log in with Demo Identity"`);
    const agent = new UserAgent();
    const front = await agent.navigate(url);
    expect(front.body).toContain('href="/auth/demo/login?returnTo=/dashboard"');
    expect(front.body).not.toContain('GitHub');
    expect((await agent.navigate(`${url}/dashboard`)).body).toContain('Sign in');

    const key = readFileSync(join(folder, 'encryption-key'), 'utf8');
    expect(Buffer.from(key, 'base64url')).toHaveLength(32);
    if (process.platform !== 'win32') expect(statSync(join(folder, 'encryption-key')).mode & 0o077).toBe(0);

    // Twice on the same folder, on other ports.
    const second = start({ PORT: String(await freePort()), IDENTITY_PORT: String(await freePort()) });
    expect(await second.ended).toBe(1);
    expect(second.said()).toMatch(/in use by another process[^]*Is the demo running already\?/);
    expect(second.said()).not.toContain('    at ');

    first.child.kill('SIGINT');
    expect(await first.ended).toBe(0);
    expect(existsSync(join(folder, 'postgres', 'data', 'postmaster.pid'))).toBe(false);

    const third = start({ GITHUB_CLIENT_ID: 'an-id', GITHUB_CLIENT_SECRET: 'a-secret', GOOGLE_CLIENT_ID: 'x' });
    await third.says('Ctrl-C ends everything');
    expect(readFileSync(join(folder, 'encryption-key'), 'utf8')).toBe(key);
    const { body } = await new UserAgent().navigate(url);
    expect(body).toContain('Log in with GitHub');
    // Google's secret is missing.
    expect(body).not.toContain('Google');
    third.child.kill('SIGTERM');
    expect(await third.ended).toBe(0);
  }, 120_000);

  it.each(['PORT', 'IDENTITY_PORT'] as const)(
    'says which port is taken, and how to choose another: %s',
    async (variable) => {
      const other = await listen();
      const { port } = other.address() as AddressInfo;
      const demo = start({ [variable]: String(port) });
      expect(await demo.ended).toBe(1);
      expect(demo.said()).toContain(`Port ${port}`);
      expect(demo.said()).toContain(`${variable}=${port + 10} npm start`);
      expect(demo.said()).not.toContain('    at ');
      await new Promise((done) => other.close(done));
    },
  );

  it('refuses a port that is none', async () => {
    const demo = start({ PORT: 'http' });
    expect(await demo.ended).toBe(1);
    expect(demo.said()).toContain('PORT must be a port number, got "http".');
  });

  function start(environment: Record<string, string> = {}): Demo {
    const { NODE_OPTIONS: _options, JEST_WORKER_ID: _worker, ...inherited } = process.env;
    const child = spawn(process.execPath, [MAIN], {
      env: { ...inherited, DEMO_DIR: folder, ...ports, ...environment },
    });
    started.push(child);
    let text = '';
    const waiting = new Set<() => void>();
    const ended = new Promise<number | null>((done) => child.once('close', done));
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk) => {
        text += String(chunk);
        for (const look of waiting) look();
      });
    }
    const said = () => text;
    return {
      child,
      ended,
      said,
      says: (wanted) =>
        new Promise<void>((done, fail) => {
          const look = () => text.includes(wanted) && done();
          waiting.add(look);
          look();
          void ended.then(() => fail(new Error(`The demo ended:\n${text}`)));
        }),
    };
  }
});

async function listen(): Promise<Server> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server;
}
