// The layout of src/ and its rules: who may import whom, which file may do what, and the public names.
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { publicNames } from '../support/public-names.js';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

/** Imports go towards the front of this list only. Folders of one row do not know each other. */
const LAYERS: readonly (readonly string[])[] = [
  ['errors'],
  ['crypto'],
  ['options'],
  ['events', 'database'],
  ['providers'],
  ['accounts', 'state', 'grants', 'sessions'],
  ['strategy'],
  ['auth'],
  ['ops'],
  ['oauth.module.ts', 'entities.ts'],
  ['index.ts'],
];
/** Exceptions within a row. */
const WITHIN_A_ROW: Readonly<Record<string, readonly string[]>> = {
  database: ['events'],
  grants: ['accounts'],
  sessions: ['accounts', 'grants'],
  'oauth.module.ts': ['entities.ts'],
};
/** These stand apart: `testing` knows nothing of the rest, and nobody knows `cli`. */
const APART = ['testing', 'cli'];

interface Source {
  /** Relative to the repository, with slashes. */
  path: string;
  text: string;
  tree: ts.SourceFile;
  /** Modules named in imports and exports, types included. */
  imports: string[];
}

const sources = [...filesOf('src'), ...filesOf('migrations')].map(read);
const src = sources.filter(({ path }) => path.startsWith('src/'));
const product = src.filter(({ path }) => !path.startsWith('src/testing/'));

describe('the layout', () => {
  it('imports one way only', () => {
    const wrong = product
      .filter(({ path }) => !path.startsWith('src/cli/'))
      .flatMap((file) =>
        targetsOf(file)
          .filter((target) => !mayImport(partOf(file.path), partOf(target)))
          .map((target) => `${file.path} imports ${target}`),
      );
    expect(wrong).toEqual([]);
    expect(
      new Set(product.map(({ path }) => partOf(path)).filter((part) => !APART.includes(part) && rankOf(part) === -1)),
    ).toEqual(new Set());
  });

  it('has no circle of files', () => {
    const edges = new Map(sources.map((file) => [file.path, targetsOf(file)]));
    const circles: string[][] = [];
    const done = new Set<string>();
    const visit = (path: string, trail: string[]): void => {
      if (trail.includes(path)) return void circles.push([...trail.slice(trail.indexOf(path)), path]);
      if (done.has(path)) return;
      for (const next of edges.get(path) ?? []) visit(next, [...trail, path]);
      done.add(path);
    };
    for (const path of edges.keys()) visit(path, []);
    expect(circles).toEqual([]);
  });

  it('imports only files that exist, with their extension', () => {
    const known = new Set(sources.map(({ path }) => path));
    const dead = sources.flatMap((file) =>
      targetsOf(file)
        .filter((target) => !known.has(target))
        .map((target) => `${file.path}: ${target}`),
    );
    expect(dead).toEqual([]);
  });

  it('never imports the barrel, and testing and migrations import nothing of the rest', () => {
    const wrong = sources.flatMap((file) => {
      const targets = targetsOf(file);
      const barrel = targets.filter((target) => target === 'src/index.ts');
      const home = file.path.startsWith('migrations/') ? 'migrations/' : 'src/testing/';
      const strangers =
        file.path.startsWith('src/') && !file.path.startsWith('src/testing/')
          ? targets.filter((target) => target.startsWith('src/testing/') || target.startsWith('migrations/'))
          : targets.filter((target) => !target.startsWith(home));
      return [...barrel, ...strangers].map((target) => `${file.path} imports ${target}`);
    });
    // The command line runs migrations and nothing else of the kind.
    expect(wrong.filter((line) => !/^src\/cli\/\S+ imports migrations\//.test(line))).toEqual([]);
  });
});

describe('the doors', () => {
  it('sends HTTP in one file', () => {
    const senders = ['fetch', 'XMLHttpRequest', 'WebSocket', 'EventSource'];
    const modules = ['http', 'https', 'http2', 'tls', 'dgram', 'undici', 'axios', 'got', 'node-fetch'];
    const callers = product.filter(({ tree, imports, ...file }) => {
      // A function of one's own of that name is another matter.
      const own = senders.filter((name) =>
        some(tree, (node) => ts.isVariableDeclaration(node) && node.name.getText(tree) === name),
      );
      const calls = some(
        tree,
        (node) =>
          (ts.isCallExpression(node) || ts.isNewExpression(node)) &&
          senders.some(
            (name) => node.expression.getText(tree) === name || node.expression.getText(tree) === `globalThis.${name}`,
          ) &&
          !own.includes(node.expression.getText(tree)),
      );
      const opens = modules.some((name) =>
        [name, `node:${name}`].some((one) => importedNames({ tree, imports, ...file }, one).length > 0),
      );
      return calls || opens;
    });
    expect(callers.map(({ path }) => path)).toEqual(['src/providers/http-exchange.ts']);
    // It is told where to and for how long: that is judged at the door.
    const doors = product.filter(({ imports }) => imports.some((target) => target.endsWith('/http-exchange.js')));
    expect(doors.map(({ path }) => path)).toEqual(['src/providers/http-door.ts']);
  });

  it('writes SQL in repositories and in src/database only', () => {
    const statement =
      /\bselect\b[\s\S]+\bfrom\b|\binsert\s+into\b|\bupdate\s+\w+[\s\S]*\bset\b|\bdelete\s+from\b|\btruncate\s+\w+|^\s*(?:listen|notify)\s+\w/i;
    const writers = product.filter(
      (file) =>
        !/\.repository\.ts$/.test(file.path) &&
        !file.path.startsWith('src/database/') &&
        some(file.tree, (node) => textsOf(node).some((text) => statement.test(text))),
    );
    expect(writers.map(({ path }) => path)).toEqual([]);
  });

  it('knows Passport in src/strategy only', () => {
    expect(importersOf(/^(@nestjs\/)?passport/)).toEqual([]);
    function importersOf(name: RegExp): string[] {
      return product
        .filter(({ path, imports }) => !path.startsWith('src/strategy/') && imports.some((one) => name.test(one)))
        .map(({ path }) => path);
    }
  });

  it('speaks the protocol through openid-client in src/providers only', () => {
    const users = product.filter(
      ({ path, imports }) => !path.startsWith('src/providers/') && imports.includes('openid-client'),
    );
    expect(users.map(({ path }) => path)).toEqual([]);
  });

  it('reads the environment in options and on the command line only', () => {
    const readers = product.filter(
      (file) =>
        !/^src\/(?:options|cli)\//.test(file.path) &&
        some(
          file.tree,
          (node) =>
            ts.isPropertyAccessExpression(node) &&
            node.name.text === 'env' &&
            ts.isIdentifier(node.expression) &&
            node.expression.text === 'process',
        ),
    );
    expect(readers.map(({ path }) => path)).toEqual([]);
  });

  it('uses node:crypto in src/crypto, and elsewhere for nothing but named hashes', () => {
    const users = product.filter(
      ({ path, imports }) => !path.startsWith('src/crypto/') && imports.some((name) => /^(?:node:)?crypto$/.test(name)),
    );
    const wrong = users.flatMap((file) =>
      importedNames(file, 'node:crypto')
        .filter((name) => name !== 'createHash')
        .map((name) => `${file.path}: ${name}`),
    );
    expect(wrong).toEqual([]);
  });

  it('makes no secret of Math.random', () => {
    const secretive = /^src\/(?:crypto|providers|state|sessions|strategy|auth)\//;
    const guessable = product.filter(
      ({ path, tree }) =>
        secretive.test(path) &&
        some(tree, (node) => ts.isPropertyAccessExpression(node) && node.getText(tree) === 'Math.random'),
    );
    expect(guessable.map(({ path }) => path)).toEqual([]);
  });

  it('writes to the console on the command line only', () => {
    const talkers = src.filter(
      (file) =>
        !file.path.startsWith('src/cli/') &&
        some(
          file.tree,
          (node) =>
            ts.isPropertyAccessExpression(node) &&
            ts.isIdentifier(node.expression) &&
            node.expression.text === 'console',
        ),
    );
    expect(talkers.map(({ path }) => path)).toEqual([]);
  });
});

describe('every file', () => {
  it('begins by saying what it is for', () => {
    expect(sources.filter(({ text }) => !/^(?:#!.*\n)?\/\/ \S/.test(text)).map(({ path }) => path)).toEqual([]);
  });

  it('has 250 lines of code at most', () => {
    const long = sources
      .map(({ path, text }) => ({
        path,
        lines: text.split('\n').filter((line) => !/^\s*(?:\/\/|\/?\*|$)/.test(line)).length,
      }))
      .filter(({ lines }) => lines > 250);
    expect(long).toEqual([]);
  });

  it('documents what it exports', () => {
    const bare = sources.flatMap((file) =>
      file.tree.statements
        .filter(
          (statement) =>
            ts.canHaveModifiers(statement) &&
            ts.getModifiers(statement)?.some(({ kind }) => kind === ts.SyntaxKind.ExportKeyword),
        )
        .filter((statement) => ts.getJSDocCommentsAndTags(statement).length === 0)
        .map(
          (statement) =>
            `${file.path}:${file.tree.getLineAndCharacterOfPosition(statement.getStart(file.tree)).line + 1}`,
        ),
    );
    expect(bare).toEqual([]);
  });

  it('is no drawer', () => {
    expect(
      src.map(({ path }) => path).filter((path) => /\b(?:utils?|helpers?|common|misc|shared)\b/.test(path)),
    ).toEqual([]);
  });
});

describe('the public names', () => {
  const entries = {
    '.': 'src/index.ts',
    './providers': 'src/providers/index.ts',
    './migrations': 'migrations/index.ts',
    './testing': 'src/testing/index.ts',
  };

  it.each(Object.entries(entries))('of %s are these', (subpath, path) => {
    const file = sources.find((one) => one.path === path)!;
    expect(exportedNames(file)).toEqual([...(publicNames[subpath] ?? [])].sort());
  });

  it('are exported by name', () => {
    const stars = sources.filter((file) =>
      file.tree.statements.some(
        (statement) =>
          ts.isExportDeclaration(statement) &&
          (!statement.exportClause || ts.isNamespaceExport(statement.exportClause)),
      ),
    );
    expect(stars.map(({ path }) => path)).toEqual([]);
  });

  it('are what package.json exports, and no path besides', () => {
    const manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
      exports: Record<string, unknown>;
    };
    expect(Object.keys(manifest.exports)).toEqual([...Object.keys(entries), './package.json']);
  });
});

function filesOf(folder: string): string[] {
  return readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => join(ROOT, folder, name))
    .sort();
}

function read(absolute: string): Source {
  const path = relative(ROOT, absolute).replaceAll('\\', '/');
  const text = readFileSync(absolute, 'utf8');
  const tree = ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true);
  const imports: string[] = [];
  const note = (node: ts.Node | undefined) => node && ts.isStringLiteral(node) && imports.push(node.text);
  const visit = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) note(node.moduleSpecifier);
    if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) note(node.arguments[0]);
    ts.forEachChild(node, visit);
  };
  visit(tree);
  return { path, text, tree, imports };
}

/** The files of ours that a file imports. */
function targetsOf({ path, imports }: Source): string[] {
  return imports
    .filter((name) => name.startsWith('.'))
    .map((name) => join(dirname(path), name).replaceAll('\\', '/').replace(/\.js$/, '.ts'));
}

/** The folder below src, or the file where there is none. */
function partOf(path: string): string {
  return path.split('/')[1]!;
}

function rankOf(part: string): number {
  return LAYERS.findIndex((row) => row.includes(part));
}

function mayImport(from: string, to: string): boolean {
  if (from === to) return true;
  if (APART.includes(to) || to === 'index.ts') return false;
  return rankOf(to) < rankOf(from) || (WITHIN_A_ROW[from]?.includes(to) ?? false);
}

function some(node: ts.Node, test: (node: ts.Node) => boolean): boolean {
  return test(node) || (ts.forEachChild(node, (child) => some(child, test) || undefined) ?? false);
}

/** Texts in code: literals and templates, without the places filled in. */
function textsOf(node: ts.Node): string[] {
  if (ts.isStringLiteral(node) || ts.isNoSubstitutionTemplateLiteral(node)) return [node.text];
  if (ts.isTemplateExpression(node))
    return [[node.head.text, ...node.templateSpans.map(({ literal }) => literal.text)].join('x')];
  return [];
}

/** Values imported from a module; types are nobody's concern. */
function importedNames({ tree }: Source, from: string): string[] {
  return tree.statements.flatMap((statement) => {
    if (!ts.isImportDeclaration(statement) || (statement.moduleSpecifier as ts.StringLiteral).text !== from) return [];
    const clause = statement.importClause;
    if (clause?.phaseModifier === ts.SyntaxKind.TypeKeyword) return [];
    const bindings = clause?.namedBindings;
    return bindings && ts.isNamedImports(bindings)
      ? bindings.elements
          .filter(({ isTypeOnly }) => !isTypeOnly)
          .map((element) => (element.propertyName ?? element.name).text)
      : ['everything'];
  });
}

/** Names exported by a file; those of types with `type ` before them. */
function exportedNames({ tree }: Source): string[] {
  return tree.statements
    .flatMap((statement): string[] => {
      if (ts.isExportDeclaration(statement) && statement.exportClause && ts.isNamedExports(statement.exportClause)) {
        return statement.exportClause.elements.map(
          (element) => `${statement.isTypeOnly || element.isTypeOnly ? 'type ' : ''}${element.name.text}`,
        );
      }
      const exported =
        ts.canHaveModifiers(statement) &&
        ts.getModifiers(statement)?.some(({ kind }) => kind === ts.SyntaxKind.ExportKeyword);
      if (!exported) return [];
      if (ts.isVariableStatement(statement))
        return statement.declarationList.declarations.map((declaration) => declaration.name.getText(tree));
      const { name } = statement as ts.DeclarationStatement;
      const isType = ts.isInterfaceDeclaration(statement) || ts.isTypeAliasDeclaration(statement);
      return name ? [`${isType ? 'type ' : ''}${name.getText(tree)}`] : [];
    })
    .sort();
}
