// The exemptions from the cross-site check: exact paths and exact origins, nothing that could match more than it says.
import type { CsrfOptions } from './options.js';
import { type Problems, shown } from './problems.js';
import { originFault } from './urls.js';

/** The exemptions as the guard reads them. */
export interface ResolvedCsrf {
  readonly exemptPaths: ReadonlySet<string>;
  readonly exemptOrigins: ReadonlySet<string>;
}

/** Checks the exemptions. */
export function resolveCsrf(given: CsrfOptions | undefined, at: Problems): ResolvedCsrf {
  const options = at.object<CsrfOptions>(given, ['exemptPaths', 'exemptOrigins']);
  const paths = at.at('exemptPaths').texts(options.exemptPaths, []);
  const origins = at.at('exemptOrigins').texts(options.exemptOrigins, []);
  for (const [index, path] of paths.entries())
    if (!isExactPath(path))
      at.at('exemptPaths')
        .at(index)
        .add(
          `must be one exact path below "/", e.g. /hooks/billing, without pattern, query or escapes; got ${shown(path)}`,
        );
  for (const [index, origin] of origins.entries()) {
    const fault = originFault(origin);
    if (fault)
      at.at('exemptOrigins')
        .at(index)
        .add(`must be ${fault}, got ${shown(origin)}`);
  }
  return Object.freeze({ exemptPaths: new Set(paths), exemptOrigins: new Set(origins) });
}

/** A path that is its own canonical form. The root is none: odd request targets count as it. */
function isExactPath(path: string): boolean {
  return /^(?:\/(?!\.{1,2}(?:\/|$))[\w.~!$&',=@+-]+)+\/?$/.test(path);
}
