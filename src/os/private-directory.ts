import { lstatSync, realpathSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { errnoOf, RafterError } from '../errors.js';
import { makeDirectoriesSync } from './make-directories.js';
import { systemReason } from './system-error.js';

/** Permission bits of group and others to write; of others alone; and the bit that keeps them from names that are not theirs. */
const WRITABLE_BY_OTHERS = 0o022;
const WRITABLE_BY_ALL = 0o002;
const STICKY = 0o1000;

/**
 * Makes `path` a directory for this user only (0700), or takes the one that is there if nobody else can put files into it or
 * another in its place. Otherwise DENIED, naming directory and reason; `option` is for the hint. FAILED if it cannot be made.
 */
export function preparePrivateDirectory(path: string, option: string): void {
  try {
    makeDirectoriesSync(path, 0o700);
  } catch (error) {
    const code = ['EACCES', 'EPERM', 'EROFS'].includes(errnoOf(error) ?? '') ? 'DENIED' : 'FAILED';
    throw new RafterError(code, `cannot make the directory ${path}: ${systemReason(error)}`, {
      cause: error,
      hint: `choose another with ${option}`,
    });
  }
  const reason = whyOthersCanWrite(path, [process.geteuid?.() ?? 0]);
  if (reason !== undefined)
    throw new RafterError('DENIED', reason, { hint: `give a directory of your own with ${option}` });
}

/**
 * Why files in the directory `path` may be somebody else's, in a sentence; undefined if they cannot be, or it does not exist.
 * `owners` are the users who may own it. Root may always own the symlink that leads there.
 */
export function whyOthersCanWrite(path: string, owners: readonly number[]): string | undefined {
  const link = lstatIfThere(path);
  if (link === undefined) return undefined;
  if (link.isSymbolicLink() && ![0, ...owners].includes(link.uid))
    return `${path} is a symlink that belongs to user ${link.uid}`;
  const { uid, mode } = statSync(path);
  if (!owners.includes(uid)) return `${path} belongs to user ${uid}`;
  if ((mode & WRITABLE_BY_OTHERS) !== 0)
    return `others can write to ${path} (mode ${(mode & 0o7777).toString(8)})`;
  const parent = dirname(realpathSync(path));
  const above = statSync(parent);
  if ((above.mode & WRITABLE_BY_ALL) !== 0 && (above.mode & STICKY) === 0)
    return `others can write to ${parent}, and so put another directory in the place of ${path}`;
  return undefined;
}

function lstatIfThere(path: string) {
  try {
    return lstatSync(path);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return undefined;
    throw error;
  }
}
