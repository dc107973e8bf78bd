// @ts-check
// How TypeScript is compiled without a build: the same way in the test runner and in child processes of tests.

/**
 * Legacy decorators with the metadata Nest and TypeORM read, class names kept.
 *
 * @type {import('@swc/core').Options}
 */
export const swcOptions = {
  swcrc: false,
  jsc: {
    target: 'es2023',
    parser: { syntax: 'typescript', decorators: true },
    transform: { legacyDecorator: true, decoratorMetadata: true },
    keepClassNames: true,
    experimental: { keepImportAttributes: true },
  },
};
