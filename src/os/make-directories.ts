import { mkdirSync, promises, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { errnoOf } from '../errors.js';

/**
 * Makes the directory `path` with those above it that are missing; none that is there, or that a symlink leads to, is an error. Node.js'
 * own way (`recursive`) tries for ever below directories that take no names, as those of /proc. Throws what mkdir(2) and stat(2) throw.
 */
export async function makeDirectories(path: string, mode?: number): Promise<void> {
  try {
    await promises.mkdir(path, { mode });
  } catch (error) {
    if (errnoOf(error) === 'EEXIST' && (await promises.stat(path).catch(() => undefined))?.isDirectory())
      return;
    const parent = dirname(path);
    if (
      errnoOf(error) !== 'ENOENT' ||
      parent === path ||
      (await promises.stat(parent).catch(() => undefined))
    )
      throw error;
    await makeDirectories(parent, mode);
    await promises.mkdir(path, { mode }).catch(ignoreExisting);
  }
}

/** As `makeDirectories`, at once. */
export function makeDirectoriesSync(path: string, mode?: number): void {
  const isThere = (one: string) => {
    try {
      return statSync(one);
    } catch {
      return undefined;
    }
  };
  try {
    mkdirSync(path, { mode });
  } catch (error) {
    if (errnoOf(error) === 'EEXIST' && isThere(path)?.isDirectory()) return;
    const parent = dirname(path);
    if (errnoOf(error) !== 'ENOENT' || parent === path || isThere(parent)) throw error;
    makeDirectoriesSync(parent, mode);
    try {
      mkdirSync(path, { mode });
    } catch (again) {
      ignoreExisting(again);
    }
  }
}

/** Somebody else was quicker. */
function ignoreExisting(error: unknown): void {
  if (errnoOf(error) !== 'EEXIST') throw error;
}
