// The command line of the installed package, every command against a real database.
import { readFileSync, symlinkSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { migratedDataSource, oauthMigrations } from '../../migrations/index.js';
import { createTestDatabase } from '../support/database.js';
import { TEST_KEY } from '../support/app.js';
import { type Grants, startGrants } from '../support/grants.js';
import { type Finished, userProject, type UserProject } from '../support/packed-package.js';

const OLD = { id: 'test', secret: TEST_KEY };
const NEW_SECRET = 'bmV3LWtleS1uZXcta2V5LW5ldy1rZXktbmV3LTAxMjM';
const NEW = { id: 'new', secret: NEW_SECRET };

describe('nest-oauth, installed', () => {
  let project: UserProject;
  let grants: Grants;
  const outputs: string[] = [];

  beforeAll(async () => {
    [project, grants] = await Promise.all([userProject(), startGrants()]);
    // As npm does: the file that `bin` names, under the command's name.
    const own = join(project.folder, 'node_modules', 'nest-oauth-client');
    const manifest = JSON.parse(readFileSync(join(own, 'package.json'), 'utf8')) as { bin: Record<string, string> };
    mkdirSync(join(project.folder, 'node_modules', '.bin'));
    for (const [name, file] of Object.entries(manifest.bin))
      symlinkSync(join(own, file), join(project.folder, 'node_modules', '.bin', name));
    expect(readFileSync(join(own, manifest.bin['nest-oauth']!), 'utf8')).toMatch(/^#!\/usr\/bin\/env node\n/);
    project.write('keys.json', JSON.stringify([NEW, OLD]));
    await grants.logIn('user-1');
    await grants.logIn('user-2');
  }, 300_000);
  afterAll(async () => {
    project?.[Symbol.dispose]();
    await grants?.[Symbol.asyncDispose]();
  });

  async function run(args: string[], environment: Record<string, string> = {}): Promise<Finished> {
    const finished = await project.node([join('node_modules', '.bin', 'nest-oauth'), ...args], environment);
    if (args[1] !== 'generate') outputs.push(finished.output);
    return finished;
  }
  const database = (): Record<string, string> => ({ DATABASE_URL: grants.database.url });
  const keys = ['--keys', 'keys.json'];

  it('prints keys that can be used, each another one, and nothing besides', async () => {
    const [one, two] = await Promise.all([run(['keys', 'generate']), run(['keys', 'generate'])]);
    for (const { code, output } of [one, two]) {
      expect([code, output]).toEqual([0, expect.stringMatching(/^[\w-]{43}\n$/)]);
      expect(Buffer.from(output.trim(), 'base64url')).toHaveLength(32);
    }
    expect(one.output).not.toBe(two.output);
  });

  it('helps, and says what is wrong with a call: exit code 2, with the usage', async () => {
    expect(await run(['--help'])).toMatchObject({ code: 0, output: expect.stringContaining('nest-oauth <command>') });
    const url = { DATABASE_URL: grants.database.url };
    const wrong: [string[], Record<string, string>, string][] = [
      [[], {}, 'a command is missing'],
      [['nonsense'], {}, 'there is no command "nonsense"'],
      [['keys'], {}, 'keys takes: generate, report, retire <id>'],
      [['keys', 'retire'], url, 'keys takes'],
      [['keys', 'retire', ''], url, 'keys takes: generate, report, retire <id>'],
      [['keys', 'retire', 'gone', 'test'], url, 'keys retire takes one id and nothing more'],
      [['keys', 'generate', 'new'], {}, 'keys generate takes nothing more'],
      [['rekey', ...keys, `new:${NEW_SECRET}`], url, 'rekey takes nothing more'],
      [['rekey', '--nonsense'], url, '--nonsense'],
      [['keys', 'report'], { DATABASE_URL: '' }, 'no database: give --database-url or set DATABASE_URL'],
      [
        ['keys', 'report', '--database-url', 'postgres://u:hidden-password@[/x'],
        {},
        'the URL of the database cannot be read',
      ],
      [
        ['keys', 'report'],
        { DATABASE_URL: 'postgres://u:hidden%ffpassword@h/x' },
        'the URL of the database cannot be read',
      ],
      [['doctor', '--listen-url', 'u:hidden-password@host/x'], url, 'the URL for LISTEN cannot be read'],
      [['rekey'], url, 'no keys: give --keys FILE or set OAUTH_KEYS'],
      [['rekey', ...keys, '--batch-size', '0'], url, 'batch-size'],
      [['rekey', '--keys', 'none.json'], url, 'the keys file cannot be read (ENOENT): --keys takes the name of a file'],
      [['rekey', '--keys', JSON.stringify([NEW])], url, 'the keys file cannot be read (ENOENT)'],
      [['rekey', '--keys', `new:${NEW_SECRET}`], url, 'the keys file cannot be read (ENOENT)'],
      [['rekey'], { ...url, OAUTH_KEYS: `new:${NEW_SECRET.slice(1)}` }, 'must be 32 bytes'],
    ];
    for (const [args, environment, message] of wrong) {
      const { code, output } = await run(args, environment);
      expect([args, output]).toEqual([args, expect.stringContaining(message)]);
      if (message !== '')
        expect([args, code, output]).toEqual([args, 2, expect.stringContaining('nest-oauth <command>')]);
      expect(output).not.toMatch(/\n\s+at |hidden/);
    }
  });

  it('fails plainly where there is no database, or none of ours', async () => {
    const away = await run([
      'keys',
      'report',
      '--database-url',
      'postgres://somebody:hidden-password@127.0.0.1:9/none',
    ]);
    expect([away.code, away.output]).toEqual([1, expect.stringContaining('nest-oauth: ')]);
    expect(away.output).not.toContain('hidden-password');
    expect(away.output).not.toMatch(/\n\s+at /);
    const looked = await run(['doctor', '--json', '--database-url', 'postgres://u:hidden-password@127.0.0.1:9/none']);
    expect(looked.code).toBe(1);
    expect(JSON.parse(looked.output)).toEqual([
      { check: 'database', level: 'problem', message: expect.stringContaining('ECONNREFUSED') },
    ]);
    await using empty = await createTestDatabase({ from: 'empty' });
    const ill = await run(['doctor', '--database-url', empty.url, ...keys]);
    expect([ill.code, ill.output]).toEqual([1, expect.stringMatching(/problem\s+migrations: pending: .*OAuth/)]);
    expect(ill.output).toContain('--migrations-table');
  });

  it('takes nothing but a URL for one: a name would be sought on the default server, and shown with the password', async () => {
    const { hostname, port, username, password } = new URL(grants.database.url);
    const server = { PGHOST: hostname, PGPORT: port, PGUSER: username, PGPASSWORD: decodeURIComponent(password) };
    const wrong = await run(['keys', 'report', '--database-url', 'app:hidden-password@db.example/app'], server);
    expect([wrong.code, wrong.output]).toEqual([2, expect.stringContaining('the URL of the database cannot be read')]);
    expect(wrong.output).not.toMatch(/password@db|dden-pass/);
    const socket = await run(['keys', 'report', '--database-url', '/nowhere/at/all app'], {});
    expect([socket.code, socket.output]).toEqual([1, expect.stringContaining('ENOENT /nowhere/at/all')]);
  });

  it('says what failed also where the host has two addresses', async () => {
    const twice = `import dns from 'node:dns';
      const addresses = [{ address: '127.0.0.1', family: 4 }, { address: '::1', family: 6 }];
      dns.lookup = (host, options, done) => (options.all ? done(null, addresses) : done(null, '127.0.0.1', 4));`;
    const lookup = { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(twice)}` };
    const away = 'postgres://u:p@localhost:9/none';
    const report = await run(['keys', 'report', '--database-url', away], lookup);
    expect([report.code, report.output]).toEqual([1, expect.stringContaining('ECONNREFUSED 127.0.0.1:9')]);
    const ill = await run(['doctor', '--listen-url', away, ...keys], { ...database(), ...lookup });
    expect([ill.code, ill.output]).toEqual([1, expect.stringMatching(/listen: cannot connect: .*ECONNREFUSED 127/)]);
  });

  it("finds migrations where TypeORM's migrationsTableName or schema puts them", async () => {
    await using other = await createTestDatabase({ from: 'empty' });
    await other.query('create schema "App"');
    const dataSource = await migratedDataSource({
      ...{ type: 'postgres', url: other.url, schema: 'App', migrationsTableName: 'Done here' },
      migrations: oauthMigrations,
    });
    await dataSource.destroy();
    const examine = (name: string) => run(['doctor', '--database-url', other.url, '--migrations-table', name, ...keys]);
    const found = await examine('"App"."Done here"');
    expect([found.code, found.output]).toEqual([0, expect.stringMatching(/ok\s+migrations: 2 run/)]);
    const none = await examine('nowhere');
    expect([none.code, none.output]).toEqual([1, expect.stringContaining('there is no table nowhere')]);
  });

  it('reports, refuses to retire, examines, seals anew, and retires: the application goes on with the new key', async () => {
    const report = JSON.parse((await run(['keys', 'report', '--json'], database())).output) as {
      keyId: string;
      rows: number;
    }[];
    expect(new Set(report.map(({ keyId }) => keyId))).toEqual(new Set(['test']));
    const values = report.reduce((sum, { rows }) => sum + rows, 0);
    expect(values).toBeGreaterThanOrEqual(6);
    const told = await run(['keys', 'report'], database());
    expect([told.code, told.output]).toEqual([0, expect.stringContaining(`test: ${values} values\n`)]);
    expect(told.output).toMatch(/ {2}oauth_grants\.refresh_token: 2\n/);

    expect(await run(['keys', 'retire', 'test', ...keys], database())).toMatchObject({
      code: 1,
      output: expect.stringContaining(`refused: "test" still seals ${values} values`),
    });
    const before = await run(['doctor', ...keys], database());
    expect([before.code, before.output]).toEqual([0, expect.stringContaining('run "nest-oauth rekey"')]);
    expect(before.output).toMatch(/ok\s+listen: the connection is direct/);
    const lost = await run(['doctor', '--json'], { ...database(), OAUTH_KEYS: `new:${NEW_SECRET}` });
    expect(lost.code).toBe(1);
    expect(JSON.parse(lost.output)).toContainEqual({
      check: 'keys',
      level: 'problem',
      message: expect.stringContaining('"test", which is not configured here'),
    });

    // Another secret under the name of the key in use: the application would open nothing, nor what rekey sealed.
    const another = { ...database(), OAUTH_KEYS: `test:${NEW_SECRET}` };
    const ill = await run(['doctor'], another);
    expect([ill.code, ill.output]).toEqual([
      1,
      expect.stringMatching(/problem\s+keys: "test" does not open (\d+) of \1 /),
    ]);
    expect(ill.output).not.toMatch(/ok\s+keys/);
    const refused = await run(['rekey'], another);
    expect([refused.code, refused.output]).toEqual([2, expect.stringContaining('"test" opens none of the values')]);

    const rekeyed = await run(['rekey', ...keys, '--batch-size', '2'], database());
    expect([rekeyed.code, rekeyed.output]).toEqual([
      0,
      expect.stringContaining(`${values} values sealed anew with "new"`),
    ]);
    const progress = [...rekeyed.output.matchAll(/ (\d+) sealed anew in all$/gm)].map(([, count]) => Number(count));
    expect(Math.max(...progress)).toBe(values);
    const again = await run(['rekey', '--json'], { ...database(), OAUTH_KEYS: `new:${NEW_SECRET},test:${TEST_KEY}` });
    expect(JSON.parse(again.output)).toEqual({ resealed: 0, failed: 0, current: 'new', left: {} });
    expect(await run(['keys', 'retire', 'test', ...keys], database())).toMatchObject({
      code: 0,
      output: expect.stringContaining('remove it from encryption.keys'),
    });
    // A slip must not read as if the key that was meant could go.
    const slip = await run(['keys', 'retire', 'tset', ...keys], database());
    expect(slip.output).toContain('none of the keys given (new, test)');
    expect(slip.output).not.toContain('remove it');
    expect(await run(['keys', 'retire', 'new', ...keys], database())).toMatchObject({
      code: 1,
      output: expect.stringContaining('is the current key'),
    });
    expect(await run(['doctor', ...keys], database())).toMatchObject({ code: 0 });

    const later = await grants.another({ encryption: { keys: [NEW] } });
    await grants.expire();
    for (const { id } of await grants.database.query<{ id: string }>('select id from oauth_grants'))
      expect((await later.tokens.getAccessToken(id)).value).toBeTruthy();
  });

  it('D-044 shows no key in anything it says', () => {
    expect(outputs.length).toBeGreaterThan(15);
    for (const output of outputs)
      for (const secret of [TEST_KEY, NEW_SECRET, NEW_SECRET.slice(1)]) expect(output).not.toContain(secret);
  });
});
