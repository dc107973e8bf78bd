// Programs of this machine that some tests need: looked for, never installed.
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

/**
 * The first of these programs that can be run, or null.
 *
 * @param names in order of preference within a folder
 * @param elsewhere folders that are looked into after those of `PATH`
 * @param paths whole paths that are tried last
 */
export function findProgram(
  names: readonly string[],
  elsewhere: readonly string[],
  paths: readonly string[] = [],
): string | null {
  const folders = [...(process.env.PATH ?? '').split(delimiter), ...elsewhere];
  const candidates = [...folders.flatMap((folder) => names.map((name) => join(folder, name))), ...paths];
  return candidates.find(isExecutable) ?? null;
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
