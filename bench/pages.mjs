// Writes docs/benchmarks.md, and the figures in docs/scaling.md, from the JSON of one run:
//   node bench/pages.mjs bench/results/full.json
import { readFileSync, writeFileSync } from 'node:fs';
import { relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { format, resolveConfig } from 'prettier';
import { benchmarksPage } from './pages/benchmarks.mjs';
import { scalingFigures } from './pages/scaling.mjs';

const [file] = process.argv.slice(2);
if (!file) {
  process.stderr.write('Usage: node bench/pages.mjs RESULTS.json\n');
  process.exit(2);
}
const root = fileURLToPath(new URL('..', import.meta.url));
const rows = JSON.parse(readFileSync(file, 'utf8'));
const source = relative(root, file);

async function write(name, text) {
  const path = `${root}docs/${name}`;
  writeFileSync(path, await format(text, { ...(await resolveConfig(path)), parser: 'markdown' }));
  process.stdout.write(`docs/${name}\n`);
}

/** Replaces what stands between the two marks of each figure, and complains about a figure that nothing fills. */
function filled(page, figures) {
  const known = new Set();
  const text = page.replace(/(<!-- figure: (\S+) -->\n)[^]*?(<!-- end of figure -->)/g, (_, begin, name, end) => {
    if (!(name in figures)) throw new Error(`docs/scaling.md asks for the figure ${name}, which is not made`);
    known.add(name);
    return `${begin}\n${figures[name]}\n\n${end}`;
  });
  const unused = Object.keys(figures).filter((name) => !known.has(name));
  if (unused.length > 0) throw new Error(`docs/scaling.md has no place for ${unused.join(', ')}`);
  return text;
}

await write('benchmarks.md', benchmarksPage(rows, source));
await write('scaling.md', filled(readFileSync(`${root}docs/scaling.md`, 'utf8'), scalingFigures(rows, source)));
