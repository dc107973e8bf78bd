// @ts-check
// Lets plain node run this repository's TypeScript from source: `node --import ./test/support/typescript.mjs file.ts`,
// or import this file before the first TypeScript file. For the test runner's own setup and for tests with several processes.
import { register } from 'node:module';

register('./typescript-hooks.mjs', import.meta.url);
