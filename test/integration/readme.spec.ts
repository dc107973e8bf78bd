// The README keeps its word: its code compiles and runs as it stands, and its tables say what the sources say.
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { freePort, TEST_KEY } from '../support/app.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { type GithubDouble, startGithubDouble } from '../support/github-double.js';
import { userProject, type UserProject } from '../support/packed-package.js';
import { readme, readmeBlock, readmeBlocks } from '../support/readme-blocks.js';
import { UserAgent } from '../support/user-agent.js';

const ROOT = new URL('../../', import.meta.url);
/** Compiler options of a fresh Nest project that emits ES modules. */
const COMPILER = {
  ...{ target: 'ES2023', module: 'nodenext', moduleResolution: 'nodenext', outDir: 'out', strict: true },
  ...{ experimentalDecorators: true, emitDecoratorMetadata: true, skipLibCheck: true, types: ['node'] },
};

describe('the README', () => {
  let project: UserProject;
  beforeAll(async () => {
    project = await userProject();
    project.write('tsconfig.json', JSON.stringify({ compilerOptions: COMPILER, include: ['*.ts'] }));
    for (const { language, text } of readmeBlocks.filter((block) => block.language === 'ts')) {
      const name = /^\/\/ (\S+\.ts)\n/.exec(text)?.[1];
      if (!name) throw new Error(`a block of ${language} without a file name: ${text.slice(0, 60)}`);
      project.write(name, text);
    }
  }, 300_000);
  afterAll(() => project?.[Symbol.dispose]());

  it('has code that compiles as it stands', async () => {
    const { code, output } = await project.compile('--noEmit');
    expect(output.trim()).toBe('');
    expect(code).toBe(0);
  }, 120_000);

  it('has a quick start that logs in at GitHub, and calls its API', async () => {
    const port = await freePort();
    const url = `http://localhost:${port}`;
    await using database: TestDatabase = await createTestDatabase({ from: 'empty' });
    await using hub: GithubDouble = await startGithubDouble({
      clientId: 'an-id',
      clientSecret: 'a-secret',
      redirectUri: `${url}/auth/github/callback`,
    });
    // The quick start as printed, but for GitHub's address and the port.
    const elsewhere = (text: string) =>
      text
        .replace('github({ ', `github({ webUrl: '${hub.url}', apiUrl: '${hub.apiUrl}', `)
        .replace('https://api.github.com', hub.apiUrl)
        .replace('http://localhost:3000', url);
    for (const name of ['app.module.ts', 'profile.controller.ts', 'main.ts'])
      project.write(name, elsewhere(readmeBlock(name)));
    const compiled = await project.compile();
    expect(compiled.output.trim()).toBe('');

    const environment = {
      DATABASE_URL: database.url,
      OAUTH_KEY: TEST_KEY,
      GITHUB_CLIENT_ID: 'an-id',
      GITHUB_CLIENT_SECRET: 'a-secret',
      PORT: String(port),
    };
    const { NODE_OPTIONS: _options, ...inherited } = process.env;
    const app: ChildProcess = spawn(process.execPath, ['out/main.js'], {
      cwd: project.folder,
      env: { ...inherited, ...environment },
    });
    let output = '';
    for (const stream of [app.stdout, app.stderr]) stream!.on('data', (chunk) => (output += String(chunk)));
    const ended = new Promise((done) => app.once('exit', done));
    try {
      for (let tries = 0; !output.includes('successfully started'); tries++) {
        if (tries > 300 || app.exitCode !== null) throw new Error(output);
        await sleep(100);
      }
      const agent = new UserAgent();
      const page = await agent.navigate(`${url}/profile`);
      expect([page.status, page.url]).toEqual([200, `${url}/profile`]);
      expect(JSON.parse(page.body)).toMatchObject({
        provider: 'github',
        subject: '583231',
        profile: { username: 'octocat', email: 'octocat@github.com', emailVerified: true },
      });
      expect(JSON.parse((await agent.fetch(`${url}/profile/github`)).body)).toMatchObject({ login: 'octocat' });
      expect((await new UserAgent().fetch(`${url}/profile`)).status).toBe(401);
    } finally {
      app.kill('SIGTERM');
      await ended;
    }
  }, 120_000);

  it('has a command for a key that is one', async () => {
    expect(readme).toContain('npx nest-oauth keys generate');
    const manifest = JSON.parse(
      readFileSync(join(project.folder, 'node_modules/nest-oauth-client/package.json'), 'utf8'),
    ) as { bin: Record<string, string> };
    const bin = join('node_modules/nest-oauth-client', manifest.bin['nest-oauth']!);
    const { code, output } = await project.node([bin, 'keys', 'generate']);
    expect([code, Buffer.from(output.trim(), 'base64url').length]).toEqual([0, 32]);
    expect((await project.node([bin, 'keys', 'no-such-verb'])).code).toBe(2);
  });

  it('has tables that say what the sources say', async () => {
    const script = fileURLToPath(new URL('test/support/reference-docs.mjs', ROOT));
    const { NODE_OPTIONS: _options, ...environment } = process.env;
    const finished = await promisify(execFile)(process.execPath, [script, '--check'], { env: environment }).catch(
      (error: { stderr: string }) => error,
    );
    expect(finished.stderr).toBe('');
  });

  it('names scripts and files that exist', () => {
    const { scripts } = JSON.parse(readFileSync(new URL('package.json', ROOT), 'utf8')) as {
      scripts: Record<string, string>;
    };
    const named = [
      ...(readme + readFileSync(new URL('CONTRIBUTING.md', ROOT), 'utf8')).matchAll(/\bnpm (?:run )?([a-z:]+)/g),
    ].map(([, name]) => name!);
    expect(named.filter((name) => !['ci', 'install'].includes(name) && !(name in scripts))).toEqual([]);
    const links = [...readme.matchAll(/\]\((?!https?:|#)([^)]+)\)/g)].map(([, path]) => path!);
    expect(links.length).toBeGreaterThan(2);
    expect(links.filter((path) => !existsSync(new URL(path, ROOT)))).toEqual([]);
  });
});
