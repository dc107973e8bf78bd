// The package as users install it: what is in it, and that it works in ES modules, through require(), in TypeScript, and
// in a Jest of CommonJS.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { TEST_KEY } from '../support/app.js';
import { type PackedPackage, packedPackage, userProject, type UserProject } from '../support/packed-package.js';
import { readmeBlock } from '../support/readme-blocks.js';

/** What a user of the types writes. */
const TYPED_USER = `
  import { OAuthModule, OAuthStrategy, SessionGuard, TokenService, OAuthError, type OAuthSession, github } from 'nest-oauth-client';
  import { oidc } from 'nest-oauth-client/providers';
  import { migratedDataSource, oauthMigrations } from 'nest-oauth-client/migrations';
  import { FakeProvider } from 'nest-oauth-client/testing';
  export const module = OAuthModule.forRoot({ baseUrl: 'https://a.example', encryption: { keys: [{ id: 'k', secret: 's' }] }, providers: [
    github({ clientId: 'a', clientSecret: 'b' }), oidc({ name: 'c', issuer: 'https://c.example', clientId: 'a', clientSecret: 'b' })] });
  // @ts-expect-error an option that does not exist
  OAuthModule.forRoot({ baseUrl: '', encryption: {}, providers: [], nonsense: true });
  export async function use(tokens: TokenService, session: OAuthSession, strategy: OAuthStrategy): Promise<string> {
    const answer: Response = await tokens.fetch(session, 'https://c.example');
    // @ts-expect-error the strategy has types as well
    strategy.nonsense();
    return strategy.name + (await answer.text()) + (await tokens.getAccessToken(session)).value;
  }
  export const all = [SessionGuard, OAuthError, migratedDataSource, oauthMigrations, FakeProvider];
`;

/** A `tsconfig.json` for `user.ts`. */
function tsconfig(options: object): string {
  const strict = { target: 'ES2023', strict: true, noEmit: true, exactOptionalPropertyTypes: true, types: ['node'] };
  const decorators = { experimentalDecorators: true, emitDecoratorMetadata: true };
  return JSON.stringify({ compilerOptions: { ...strict, ...decorators, ...options }, files: ['user.ts'] });
}

describe('the packed package', () => {
  let packed: PackedPackage;
  let esm: UserProject;
  let database: TestDatabase;

  beforeAll(async () => {
    packed = await packedPackage();
    [esm, database] = await Promise.all([userProject(), createTestDatabase({ from: 'empty' })]);
  }, 300_000);
  afterAll(async () => {
    esm?.[Symbol.dispose]();
    await database?.drop();
  });

  it('holds what a user needs and nothing else', () => {
    const paths = packed.files.map(({ path }) => path);
    const loose = paths.filter((path) => !path.startsWith('dist/'));
    expect(loose.sort()).toEqual(['CHANGELOG.md', 'LICENSE', 'README.md', 'package.json']);
    const dist = paths.filter((path) => path.startsWith('dist/'));
    expect(dist.filter((path) => !/^dist\/(?:src|migrations)\/.+(?:\.js|\.d\.ts)$/.test(path))).toEqual([]);
    // Every module has its types.
    for (const path of dist.filter((one) => one.endsWith('.js')))
      expect(paths).toContain(path.replace(/\.js$/, '.d.ts'));
    expect(packed.files.reduce((sum, { size }) => sum + size, 0)).toBeLessThan(1_500_000);
  });

  it('boots an application in ES modules', async () => {
    esm.write('app.mjs', application('esm'));
    const { code, output } = await esm.node(['app.mjs'], { DATABASE_URL: database.url });
    expect(output).toContain('session: 401, login: 302');
    expect(code).toBe(0);
  });

  it('boots an application through require()', async () => {
    using cjs = await userProject({ type: 'commonjs' });
    cjs.write('app.js', application('cjs'));
    const { code, output } = await cjs.node(['app.js'], { DATABASE_URL: database.url });
    expect(output).toContain('session: 401, login: 302');
    expect(code).toBe(0);
  });

  it.each([
    { type: 'module', module: 'nodenext', moduleResolution: 'nodenext' },
    { type: 'commonjs', module: 'nodenext', moduleResolution: 'nodenext' },
    { type: 'commonjs', module: 'preserve', moduleResolution: 'bundler' },
  ] as const)(
    'has types that hold without skipLibCheck, where nobody has installed others: type $type, $moduleResolution',
    async ({ type, module, moduleResolution }) => {
      using project = await userProject({ type, ownTypes: true });
      project.write('tsconfig.json', tsconfig({ module, moduleResolution, skipLibCheck: false }));
      project.write('user.ts', TYPED_USER);
      const { output } = await project.compile();
      expect(output.split('\n').filter((line) => /error TS/.test(line))).toEqual([]);
    },
  );

  it('has types for the resolution that CommonJS applications had before TypeScript 6', async () => {
    using project = await userProject({ type: 'commonjs', ownTypes: true });
    const old = { module: 'commonjs', moduleResolution: 'node10', ignoreDeprecations: '6.0', skipLibCheck: true };
    project.write('tsconfig.json', tsconfig(old));
    project.write('user.ts', TYPED_USER);
    const { output } = await project.compile();
    expect(output.split('\n').filter((line) => /error TS/.test(line))).toEqual([]);
  });

  it('works in a CommonJS Jest with the transform that the README names', async () => {
    using project = await userProject({ type: 'commonjs' });
    project.write('jest.config.js', readmeBlock('jest.config.js'));
    project.write(
      'login.spec.js',
      `
      const { OAuthError } = require('nest-oauth-client');
      const { FakeProvider } = require('nest-oauth-client/testing');
      const { oauthMigrations } = require('nest-oauth-client/migrations');
      it('loads', async () => {
        const provider = await FakeProvider.start();
        expect((await fetch(provider.issuer + '/.well-known/openid-configuration')).status).toBe(200);
        await provider.close();
        expect(new OAuthError('not_found').statusCode).toBe(404);
        expect(oauthMigrations.length).toBeGreaterThan(0);
      });
    `,
    );
    const { code, output } = await project.node(['node_modules/jest/bin/jest.js', '--no-watchman']);
    expect(output).toContain('1 passed');
    expect(code).toBe(0);
  });

  it('imports nothing that it does not declare', () => {
    const own = join(esm.folder, 'node_modules', 'nest-oauth-client');
    const manifest = JSON.parse(readFileSync(join(own, 'package.json'), 'utf8')) as Record<
      string,
      Record<string, string>
    >;
    const declared = Object.keys({ ...manifest.dependencies, ...manifest.peerDependencies });
    const missing = new Set<string>();
    for (const name of readdirSync(join(own, 'dist'), { recursive: true, encoding: 'utf8' }).filter((one) =>
      /\.(?:js|d\.ts)$/.test(one),
    )) {
      const text = readFileSync(join(own, 'dist', name), 'utf8');
      for (const [, from] of text.matchAll(
        /^(?:import|export)\b[^;]*?\bfrom '([^'.][^']*)'|\bimport\('([^'.][^']*)'\)/gm,
      )) {
        const bare = (from ?? '')
          .split('/')
          .slice(0, from?.startsWith('@') ? 2 : 1)
          .join('/');
        if (bare !== '' && !bare.startsWith('node:') && !declared.includes(bare)) missing.add(`${name}: ${bare}`);
      }
    }
    expect([...missing]).toEqual([]);
  });
});

/** An application without decorators, in plain JavaScript, that asks itself two questions. */
function application(kind: 'esm' | 'cjs'): string {
  const load = (names: string, from: string) =>
    kind === 'esm' ? `import ${names.replaceAll(':', ' as')} from '${from}';` : `const ${names} = require('${from}');`;
  return `
    ${kind === 'esm' ? `import 'reflect-metadata';` : `require('reflect-metadata');`}
    ${load('{ get }', 'node:http')}
    ${load('{ Module }', '@nestjs/common')}
    ${load('{ NestFactory }', '@nestjs/core')}
    ${load('{ TypeOrmModule }', '@nestjs/typeorm')}
    ${load('{ OAuthModule, oauth2 }', 'nest-oauth-client')}
    ${load('{ github }', 'nest-oauth-client/providers')}
    ${load('{ migratedDataSource, oauthMigrations }', 'nest-oauth-client/migrations')}
    ${load('{ FakeProvider }', 'nest-oauth-client/testing')}
    class AppModule {}
    Module({
      imports: [
        TypeOrmModule.forRootAsync({
          useFactory: () => ({ type: 'postgres', url: process.env.DATABASE_URL, autoLoadEntities: true, migrations: oauthMigrations }),
          dataSourceFactory: migratedDataSource,
        }),
        OAuthModule.forRoot({
          baseUrl: 'http://localhost:3999',
          encryption: { keys: [{ id: 'test', secret: '${TEST_KEY}' }] },
          providers: [github({ clientId: 'id', clientSecret: 'secret' }), oauth2({ name: 'acme', clientId: 'a', clientSecret: 'b',
            authorizationEndpoint: 'https://acme.example/a', tokenEndpoint: 'https://acme.example/t', profile: () => ({ subject: 1 }) })],
        }),
      ],
    })(AppModule);
    async function main() {
      if (typeof FakeProvider.start !== 'function') throw new Error('no FakeProvider');
      const app = await NestFactory.create(AppModule, { logger: ['error', 'warn'] });
      await app.listen(0, '127.0.0.1');
      const { port } = app.getHttpServer().address();
      const ask = (path) => new Promise((done, fail) => get({ port, path, host: '127.0.0.1' }, (answer) => { answer.resume(); done(answer); }).on('error', fail));
      const session = await ask('/auth/session');
      const login = await ask('/auth/github/login');
      if (!login.headers.location.startsWith('https://github.com/login/oauth/authorize?')) throw new Error(login.headers.location);
      console.log('session: ' + session.statusCode + ', login: ' + login.statusCode);
      await app.close();
    }
    main().catch((error) => { console.error(error); process.exit(1); });
  `;
}
