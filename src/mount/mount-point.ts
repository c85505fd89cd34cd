import { realpath, stat } from 'node:fs/promises';
import { basename, dirname, isAbsolute, join } from 'node:path';
import { errnoOf, RafterError } from '../errors.js';
import { findMount } from '../os/mountinfo.js';
import { systemReason } from '../os/system-error.js';

const DIRECTORY_HINT = 'an image is mounted on an empty directory: mkdir makes one';

/** What is said where an image was expected to be mounted and none is. */
export function notMounted(path: string): RafterError {
  return new RafterError('NOT_FOUND', `no image is mounted at ${path}`, {
    hint: 'rafter mounts lists those that are',
  });
}

/**
 * The canonical path of a directory that something may be mounted at.
 * Throws USAGE (not absolute, not a directory), NOT_FOUND, or BUSY if something is mounted there already.
 */
export async function checkMountPoint(path: string): Promise<string> {
  if (!isAbsolute(path)) throw new RafterError('USAGE', `mount point ${path} is not an absolute path`);
  const canonical = await realpath(path).catch((cause) => {
    throw mountPointError(path, cause);
  });
  const found = await findMount(canonical);
  if (found !== undefined)
    throw new RafterError('BUSY', `${path} is a mount point already (${found.type})`, {
      hint: `unmount it first: umount ${path}`,
    });
  const stats = await stat(canonical).catch((cause) => {
    throw mountPointError(path, cause);
  });
  if (!stats.isDirectory())
    throw new RafterError('USAGE', `mount point ${path} is not a directory`, { hint: DIRECTORY_HINT });
  return canonical;
}

/** `path` with symbolic links in front of its last component followed: asks nothing of what is mounted there. */
export async function canonicalMountPoint(path: string): Promise<string> {
  const parent = await realpath(dirname(path)).catch(() => dirname(path));
  return join(parent, basename(path));
}

function mountPointError(path: string, cause: unknown): RafterError {
  switch (errnoOf(cause)) {
    case 'ENOENT':
      return new RafterError('NOT_FOUND', `mount point ${path} does not exist`, {
        cause,
        hint: `create it first: mkdir -p ${path}`,
      });
    case 'ENOTDIR':
      return new RafterError('USAGE', `mount point ${path} is not a directory`, {
        cause,
        hint: DIRECTORY_HINT,
      });
    case 'EACCES':
      return new RafterError('DENIED', `no right to look at mount point ${path}`, { cause });
    case 'ENOTCONN':
    case 'ECONNABORTED':
      return new RafterError('BUSY', `a mount whose server is dead is at ${path}`, {
        cause,
        hint: `take it away: umount -l ${path}`,
      });
    default:
      return new RafterError('FAILED', `cannot use mount point ${path}: ${systemReason(cause)}`, { cause });
  }
}
