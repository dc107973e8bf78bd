// The test runner: native ES modules, TypeScript through SWC, one Postgres cluster for the whole run.
import { fileURLToPath } from 'node:url';
import { swcOptions } from './support/swc-options.mjs';

const support = new URL('./support/', import.meta.url);
const at = (file) => fileURLToPath(new URL(file, support));

/** @type {import('jest').Config} */
export default {
  rootDir: fileURLToPath(new URL('..', import.meta.url)),
  testEnvironment: 'node',
  testMatch: ['<rootDir>/test/**/*.spec.ts'],
  modulePathIgnorePatterns: ['<rootDir>/dist/', '<rootDir>/.demo/', '<rootDir>/.cache/'],
  extensionsToTreatAsEsm: ['.ts'],
  transform: { '\\.ts$': ['@swc/jest', swcOptions] },
  // Sources say `./name.js` and are `./name.ts`. The file as written comes first, so packages are not touched by this.
  moduleNameMapper: {
    '^(\\.{1,2}/.*)\\.js$': ['$1.js', '$1.ts'],
    // Examples import the package by its name, as users do.
    '^nest-oauth-client$': '<rootDir>/src/index.ts',
    '^nest-oauth-client/migrations$': '<rootDir>/migrations/index.ts',
    '^nest-oauth-client/(providers|testing)$': '<rootDir>/src/$1/index.ts',
  },
  globalSetup: at('global-setup.mjs'),
  globalTeardown: at('global-teardown.mjs'),
  reporters: ['default', at('totals-reporter.mjs')],
  testTimeout: 60_000,
  maxWorkers: 2,
  // Modules loaded into a vm context are not given back; a worker that has grown is replaced between two files.
  workerIdleMemoryLimit: '1GB',
  coverageProvider: 'v8',
  collectCoverageFrom: ['src/**/*.ts', 'migrations/**/*.ts'],
};
