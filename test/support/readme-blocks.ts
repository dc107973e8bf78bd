// The code in README.md, so that tests can run it. A block is named by the file name in the comment of its first line.
import { readFileSync } from 'node:fs';

/** The text of README.md. */
export const readme = readFileSync(new URL('../../README.md', import.meta.url), 'utf8');

/** All fenced blocks of code, with their language. */
export const readmeBlocks: readonly { language: string; text: string }[] = [
  ...readme.matchAll(/^```(\w+)\n(.*?)^```$/gms),
].map(([, language, text]) => ({ language: language!, text: text! }));

/** The block that begins with `// name`. @throws {Error} When there is none. */
export function readmeBlock(name: string): string {
  const found = readmeBlocks.find(({ text }) => text.startsWith(`// ${name}\n`));
  if (!found) throw new Error(`README.md has no block that begins with "// ${name}".`);
  return found.text;
}
