// `npm start`: runs the demo straight from its TypeScript, so there is nothing to build first.
import '../../test/support/typescript.mjs';

await import('./start.ts');
