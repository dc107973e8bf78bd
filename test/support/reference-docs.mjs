// @ts-check
// Writes the reference parts of the documentation from the sources: the options tables of README.md from the doc comments
// of the option types, and docs/errors.md from the table of error codes. `--check` only compares.
import { readFileSync, writeFileSync } from 'node:fs';
import prettier from 'prettier';
import ts from 'typescript';
import './typescript.mjs';

const ROOT = new URL('../../', import.meta.url);
const { ERROR_CODES } = await import(new URL('src/errors/error-codes.ts', ROOT).href);

const options = interfacesOf('src/options/options.ts');
const providers = interfacesOf('src/options/provider-options.ts');
for (const [name, members] of interfacesOf('src/providers/github.ts')) providers.set(name, members);
for (const [name, members] of interfacesOf('src/providers/google.ts')) providers.set(name, members);

const readme = new URL('README.md', ROOT);
const tables = {
  options: table([...rows(options, 'OAuthModuleOptions', ''), ...rows(options, 'OAuthModuleExtras', '')]),
  'provider-options': table([
    ...rows(providers, 'CommonProviderOptions', ''),
    ...rows(providers, 'OidcProviderOptions', '', '`oidc()`: '),
    ...rows(providers, 'OAuth2ProviderOptions', '', '`oauth2()`: '),
    ...rows(providers, 'GitHubOptions', '', '`github()`: ').filter(([name]) => !name?.startsWith('`client')),
    ...rows(providers, 'GoogleOptions', '', '`google()`: ').filter(([name]) => !name?.startsWith('`client')),
  ]),
};
let text = readFileSync(readme, 'utf8');
for (const [name, rendered] of Object.entries(tables)) {
  text = text.replace(
    new RegExp(`(<!-- ${name} -->\n)[^]*?(<!-- /${name} -->)`),
    (_all, begin, end) => `${begin}\n${rendered}\n\n${end}`,
  );
}
const codes = Object.entries(
  /** @type {Record<string, { status: number, message: string, hint: string }>} */ (ERROR_CODES),
);
const errors = `# Error codes

Every failure has one of these codes: in the \`code\` of an \`OAuthError\`, of a \`application/problem+json\` answer, and of an
\`errorRedirect\`. They are never renamed. This page is written by \`npm run docs\`.

| Code | Status | What people read | What it means |
| --- | --- | --- | --- |
${codes.map(([code, { status, message, hint }]) => `| \`${code}\` | ${status} | ${cell(message)} | ${cell(hint)} |`).join('\n')}
`;
await settle(readme, text);
await settle(new URL('docs/errors.md', ROOT), errors);

/** @param {URL} file @param {string} wanted */
async function settle(file, wanted) {
  const settings = await prettier.resolveConfig(file);
  const formatted = await prettier.format(wanted, { ...settings, parser: 'markdown' });
  if (!process.argv.includes('--check')) return writeFileSync(file, formatted);
  if (readFileSync(file, 'utf8') === formatted) return;
  console.error(`${file.pathname.slice(ROOT.pathname.length)} does not say what the sources say: run "npm run docs".`);
  process.exitCode = 1;
}

/**
 * The members of the interfaces of a file.
 *
 * @param {string} path
 * @returns {Map<string, { name: string, type: ts.TypeNode | undefined, optional: boolean, text: string, fallback: string }[]>}
 */
function interfacesOf(path) {
  const tree = ts.createSourceFile(path, readFileSync(new URL(path, ROOT), 'utf8'), ts.ScriptTarget.Latest, true);
  const found = new Map();
  for (const statement of tree.statements) {
    if (!ts.isInterfaceDeclaration(statement)) continue;
    found.set(
      statement.name.text,
      statement.members.filter(ts.isPropertySignature).map((member) => {
        const [comment] = ts.getJSDocCommentsAndTags(member).filter(ts.isJSDoc);
        const fallback = comment?.tags?.find((tag) => tag.tagName.text === 'defaultValue');
        return {
          name: member.name.getText(tree),
          type: member.type,
          optional: member.questionToken !== undefined,
          text: ts.getTextOfJSDocComment(comment?.comment) ?? '',
          fallback: ts.getTextOfJSDocComment(fallback?.comment) ?? '',
        };
      }),
    );
  }
  return found;
}

/**
 * One row an option; those that hold options themselves are followed by these.
 *
 * @param {ReturnType<typeof interfacesOf>} from
 * @param {string} name
 * @param {string} prefix
 * @param {string} [remark]
 * @returns {string[][]}
 */
function rows(from, name, prefix, remark = '') {
  return (from.get(name) ?? []).flatMap((member) => {
    const inner = [...from.keys()].find(
      (key) => key.endsWith('Options') && member.type?.getText().match(new RegExp(`\\b${key}\\b`)),
    );
    const own = [
      `\`${prefix}${member.name}\``,
      cell(remark + (member.text || member.name)),
      member.optional ? cell(member.fallback || '–') : '**required**',
    ];
    const below =
      inner && inner !== name
        ? rows(
            from,
            inner,
            `${prefix}${member.name}${/^readonly \w+\[\]/.test(member.type?.getText() ?? '') ? '[]' : ''}.`,
          )
        : [];
    return [own, ...below];
  });
}

/** @param {string[][]} lines */
function table(lines) {
  return [
    '| Option | What it does | Default |',
    '| --- | --- | --- |',
    ...lines.map((line) => `| ${line.join(' | ')} |`),
  ].join('\n');
}

/** @param {string} value */
function cell(value) {
  return value
    .replaceAll('|', '\\|')
    .replace(/\{@link (\w+)\}/g, '`$1`')
    .replace(/\s+/g, ' ')
    .trim();
}
