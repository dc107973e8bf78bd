// @ts-check
// Module hooks of node: a relative `./name.js` that only exists as `./name.ts` is found and compiled, and the package's own
// name means its sources. Nothing else changes.
// @see https://nodejs.org/docs/latest-v20.x/api/module.html#customization-hooks
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { transform } from '@swc/core';
import { swcOptions } from './swc-options.mjs';

const ROOT = new URL('../../', import.meta.url);

/** What the package exports, and where it is written. @type {Record<string, string | undefined>} */
const OWN_NAMES = {
  'nest-oauth-client': 'src/index.ts',
  'nest-oauth-client/providers': 'src/providers/index.ts',
  'nest-oauth-client/migrations': 'migrations/index.ts',
  'nest-oauth-client/testing': 'src/testing/index.ts',
};

/** @type {import('node:module').ResolveHook} */
export async function resolve(specifier, context, nextResolve) {
  const own = OWN_NAMES[specifier];
  if (own) return { url: new URL(own, ROOT).href, format: 'module', shortCircuit: true };
  if (/^(\.{1,2}\/|file:).*\.js$/.test(specifier) && !context.parentURL?.includes('/node_modules/')) {
    const source = new URL(specifier.replace(/\.js$/, '.ts'), context.parentURL);
    if (existsSync(source)) return { url: source.href, format: 'module', shortCircuit: true };
  }
  return nextResolve(specifier, context);
}

/** @type {import('node:module').LoadHook} */
export async function load(url, context, nextLoad) {
  if (!url.startsWith('file:') || !/\.ts$/.test(url) || url.includes('/node_modules/')) return nextLoad(url, context);
  const filename = fileURLToPath(url);
  const { code } = await transform(await readFile(filename, 'utf8'), {
    ...swcOptions,
    filename,
    sourceMaps: 'inline',
    module: { type: 'es6' },
  });
  return { format: 'module', source: code, shortCircuit: true };
}
