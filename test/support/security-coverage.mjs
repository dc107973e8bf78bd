// @ts-check
// Writes docs/security-coverage.md: security case → the tests that name it in their title (`it('A-002 refuses …')`).
// `--check` only compares. After a merge, write it again; nobody edits that page by hand.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import ts from 'typescript';

const ROOT = new URL('../../', import.meta.url);
const PAGE = new URL('docs/security-coverage.md', ROOT);
const ID = /\b[ACDE]-\d{3}\b/g;

/** @type {{ cases: Record<string, string>, notApplicable: Record<string, string> }} */
const list = JSON.parse(readFileSync(new URL('docs/security-cases.json', ROOT), 'utf8'));

const tests = findTests();
const strangers = [...tests.keys()].filter((id) => !(id in list.cases));
const page = write();

if (process.argv.includes('--check')) {
  const current = readFileSync(PAGE, 'utf8');
  if (strangers.length > 0)
    complain(`Tests name cases that docs/security-cases.json does not list: ${strangers.join(', ')}`);
  if (current !== page) complain('docs/security-coverage.md is out of date: run "npm run coverage:security".');
} else {
  writeFileSync(PAGE, page);
}
console.log(page.split('\n').find((line) => line.startsWith('**')));

/** @param {string} problem */
function complain(problem) {
  console.error(problem);
  process.exitCode = 1;
}

/** Case → tests that name it, as `file: title`. */
function findTests() {
  /** @type {Map<string, Set<string>>} */
  const found = new Map();
  const files = readdirSync(new URL('test/', ROOT), { recursive: true, encoding: 'utf8' })
    .map((name) => `test/${name.replaceAll('\\', '/')}`)
    .filter((name) => name.endsWith('.spec.ts'))
    .sort();
  for (const file of files) {
    const tree = ts.createSourceFile(file, readFileSync(new URL(file, ROOT), 'utf8'), ts.ScriptTarget.Latest, true);
    visit(tree, (call) => {
      const title = call.arguments[0] && textOf(call.arguments[0]);
      if (title === undefined) return;
      // Rows of `it.each` may name the case instead of the title.
      const ids = new Set([title, ...rowsOf(call.expression, tree)].flatMap((text) => text.match(ID) ?? []));
      for (const id of ids) {
        const names = found.get(id) ?? new Set();
        names.add(`\`${file}\` ${title.replace(/^(?:[ACDE]-\d{3}[,:]? +)+/, '')}`);
        found.set(id, names);
      }
    });
  }
  return found;
}

/**
 * Calls back for every test that runs: `it(…)`, `it.each(…)(…)`, and the same of `test`; not for what is skipped.
 *
 * @param {ts.Node} node
 * @param {(call: ts.CallExpression) => void} found
 */
function visit(node, found) {
  if (ts.isCallExpression(node)) {
    const callee = node.expression.getText();
    if (/^(?:describe|it|test)\.(?:skip|todo)\b|^x(?:it|test|describe)\b/.test(callee)) return;
    if (/^(?:it|test)(?:\.only|\.concurrent)?$|^(?:it|test)(?:\.only|\.concurrent)?\.each\b/.test(callee)) {
      if (!/\.each$/.test(callee)) found(node);
    }
  }
  ts.forEachChild(node, (child) => visit(child, found));
}

/**
 * The texts in the rows of `it.each(rows)`, where `rows` is written in the same file.
 *
 * @param {ts.Expression} callee
 * @param {ts.SourceFile} tree
 * @returns {string[]}
 */
function rowsOf(callee, tree) {
  if (!ts.isCallExpression(callee)) return [];
  /** @type {string[]} */
  const texts = [];
  const collect = (/** @type {ts.Node} */ node) => {
    const text = textOf(node);
    if (text !== undefined) texts.push(text);
    if (ts.isIdentifier(node)) {
      const declared = declarationOf(node.text, tree);
      if (declared) return void collect(declared);
    }
    ts.forEachChild(node, collect);
  };
  callee.arguments.forEach(collect);
  return texts;
}

/** @param {string} name @param {ts.SourceFile} tree @returns {ts.Expression | undefined} */
function declarationOf(name, tree) {
  for (const statement of tree.statements) {
    if (!ts.isVariableStatement(statement)) continue;
    const found = statement.declarationList.declarations.find((one) => one.name.getText(tree) === name);
    if (found?.initializer && ts.isArrayLiteralExpression(unwrapped(found.initializer)))
      return unwrapped(found.initializer);
  }
  return undefined;
}

/** @param {ts.Expression} node @returns {ts.Expression} Without `as const` and the like. */
function unwrapped(node) {
  return ts.isAsExpression(node) || ts.isSatisfiesExpression(node) ? unwrapped(node.expression) : node;
}

/** @param {ts.Node} node @returns {string | undefined} */
function textOf(node) {
  if (ts.isStringLiteral(node) || ts.isNoSubstitutionTemplateLiteral(node)) return node.text;
  if (ts.isTemplateExpression(node))
    return node.head.text + node.templateSpans.map(({ literal }) => `…${literal.text}`).join('');
  return undefined;
}

function write() {
  const ids = Object.keys(list.cases);
  const covered = ids.filter((id) => tests.has(id));
  const excused = ids.filter((id) => !tests.has(id) && id in list.notApplicable);
  const open = ids.filter((id) => !tests.has(id) && !(id in list.notApplicable));
  const cell = (/** @type {string} */ text) => text.replaceAll('|', '\\|').replaceAll('<', '&lt;').replace(/\s+/g, ' ');
  const row = (/** @type {string} */ id) => {
    const names = [...(tests.get(id) ?? [])].sort().map(cell).join('<br>');
    const reason = list.notApplicable[id];
    return `| ${id} | ${cell(list.cases[id] ?? '')} | ${names || (reason ? `Does not apply: ${cell(reason)}` : '**open**')} |`;
  };
  return `# Security coverage

Which test covers which security case. The cases come from the standards (RFC 6749, 6750, 7009, 7636, 8414, 9126, 9207,
9449, 9700; OpenID Connect Core, Discovery and the three logout specifications; OWASP ASVS 5.0) and from faults found in
other projects. This page is written by \`npm run coverage:security\` from the titles of the tests; the cases are listed in
[security-cases.json](security-cases.json). A test that names a case covers it as far as its title says.

**${covered.length} of ${ids.length} cases have a test, ${excused.length} do not apply, ${open.length} are open.**

${open.length === 0 ? '' : `Open: ${open.join(', ')}\n\n`}| Case | What is asked | Tests |
| --- | --- | --- |
${ids.map(row).join('\n')}
`;
}
