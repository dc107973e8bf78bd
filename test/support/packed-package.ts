// The package as a user gets it: built and packed, then installed in a project of its own beside the packages that this
// repository has installed already. Nothing is downloaded.
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const INGREDIENTS = [
  'package.json',
  'tsconfig.json',
  'nest-cli.json',
  'README.md',
  'LICENSE',
  'CHANGELOG.md',
  'src',
  'migrations',
];

/** What a program said, and how it ended. */
export interface Finished {
  code: number;
  output: string;
}

/** A project that has the package installed. */
export interface UserProject extends Disposable {
  readonly folder: string;
  /** Writes a file. */
  write(name: string, text: string): void;
  /** Compiles it by its `tsconfig.json`. `output` is empty when there is nothing to complain about. */
  compile(...flags: string[]): Promise<Finished>;
  /** Runs node with these arguments in the project. */
  node(arguments_: readonly string[], environment?: Record<string, string>): Promise<Finished>;
}

/** A tarball and what is in it. */
export interface PackedPackage {
  readonly tarball: string;
  readonly files: readonly { path: string; size: number }[];
}

/** Builds and packs the package in a copy, by its own scripts; once for the same sources. */
export async function packedPackage(): Promise<PackedPackage> {
  const folder = join(ROOT, '.cache', `package-${digestOf(INGREDIENTS)}`);
  if (!existsSync(folder)) {
    mkdirSync(join(ROOT, '.cache'), { recursive: true });
    const copy = mkdtempSync(join(ROOT, '.cache', 'packing-'));
    try {
      for (const name of INGREDIENTS) cpSync(join(ROOT, name), join(copy, name), { recursive: true });
      symlinkSync(realpathSync(join(ROOT, 'node_modules')), join(copy, 'node_modules'));
      const { stdout } = await promisify(execFile)('npm', ['pack', '--json', '--foreground-scripts=false'], {
        cwd: copy,
        shell: process.platform === 'win32',
      });
      const [packed] = JSON.parse(stdout.slice(stdout.indexOf('['))) as [{ filename: string; files: object[] }];
      const done = mkdtempSync(join(ROOT, '.cache', 'packing-'));
      renameSync(join(copy, packed.filename), join(done, 'package.tgz'));
      writeFileSync(join(done, 'files.json'), JSON.stringify(packed.files));
      for (const old of readdirSync(join(ROOT, '.cache')).filter((name) => name.startsWith('package-')))
        rmSync(join(ROOT, '.cache', old), { recursive: true, force: true });
      // Somebody else may have been quicker with the very same.
      if (existsSync(folder)) rmSync(done, { recursive: true });
      else renameSync(done, folder);
    } finally {
      rmSync(copy, { recursive: true, force: true });
    }
  }
  return {
    tarball: join(folder, 'package.tgz'),
    files: JSON.parse(readFileSync(join(folder, 'files.json'), 'utf8')) as PackedPackage['files'],
  };
}

/**
 * Makes a project with the packed package in it.
 *
 * @param options.type of its `package.json`
 * @param options.ownTypes leaves out of `@types` what only this repository has installed: Node's types and those that the
 * package depends on remain
 */
export async function userProject({
  type = 'module',
  ownTypes = false,
}: { type?: 'module' | 'commonjs'; ownTypes?: boolean } = {}): Promise<UserProject> {
  const { tarball } = await packedPackage();
  const folder = mkdtempSync(join(realpathSync(tmpdir()), 'nest-oauth-client-user-'));
  const modules = join(folder, 'node_modules');
  const own = join(modules, 'nest-oauth-client');
  mkdirSync(own, { recursive: true });
  await promisify(execFile)('tar', ['-xzf', tarball, '-C', own, '--strip-components=1']);
  const installed = realpathSync(join(ROOT, 'node_modules'));
  for (const name of readdirSync(installed)) {
    if (name.startsWith('.') || name === 'nest-oauth-client' || (ownTypes && name === '@types')) continue;
    symlinkSync(join(installed, name), join(modules, name));
  }
  if (ownTypes) {
    const manifest = JSON.parse(readFileSync(join(own, 'package.json'), 'utf8')) as { dependencies: object };
    mkdirSync(join(modules, '@types'));
    for (const name of [
      '@types/node',
      ...Object.keys(manifest.dependencies).filter((one) => one.startsWith('@types/')),
    ])
      cpSync(join(installed, name), join(modules, name), { recursive: true });
  }
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ name: 'user', private: true, type }));
  const node: UserProject['node'] = (arguments_, environment = {}) =>
    new Promise((done) => {
      const { NODE_OPTIONS: _options, JEST_WORKER_ID: _worker, ...inherited } = process.env;
      const options = { cwd: folder, env: { ...inherited, ...environment }, timeout: 120_000, maxBuffer: 2 ** 24 };
      execFile(process.execPath, [...arguments_], options, (error, stdout, stderr) => {
        const code = error ? (typeof error.code === 'number' ? error.code : 1) : 0;
        done({ code, output: stdout + stderr });
      });
    });
  return {
    folder,
    node,
    compile: (...flags) =>
      node(['node_modules/typescript/bin/tsc', '-p', 'tsconfig.json', '--pretty', 'false', ...flags]),
    write(name, text) {
      mkdirSync(join(folder, name, '..'), { recursive: true });
      writeFileSync(join(folder, name), text);
    },
    [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }),
  };
}

function digestOf(names: readonly string[]): string {
  const hash = createHash('sha256').update(process.version);
  for (const name of names) {
    const path = join(ROOT, name);
    const files =
      existsSync(path) && !/\.\w+$|LICENSE$/.test(name)
        ? readdirSync(path, { recursive: true, encoding: 'utf8' })
            .sort()
            .map((file) => join(path, file))
        : [path];
    for (const file of files.filter((one) => /\.\w+$|LICENSE$/.test(one)))
      hash.update(file.slice(ROOT.length)).update('\0').update(readFileSync(file)).update('\0');
  }
  return hash.digest('hex').slice(0, 16);
}
