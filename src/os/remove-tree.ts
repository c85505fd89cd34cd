import { closeSync, constants, openSync, readdirSync, rmdirSync, unlinkSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import { errnoOf } from '../errors.js';
import { below } from './below.js';

/**
 * Removes `path` with everything below it; nothing if it is not there. Every name is removed below an open directory and no symlink
 * is followed, so that nobody who can write beside `path` can turn the removal to another place, as they could if each file
 * were found by its whole path.
 */
export function removeTree(path: string): void {
  const parent = openSync(dirname(path), constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    removeBelow(parent, Buffer.from(basename(path)));
  } finally {
    closeSync(parent);
  }
}

function removeBelow(directory: number, name: Buffer): void {
  const place = below(directory, name);
  if (tolerating(['EISDIR', 'EPERM'], () => unlinkSync(place))) return;
  const { O_RDONLY, O_DIRECTORY, O_NOFOLLOW } = constants;
  let fd: number | undefined;
  tolerating([], () => {
    fd = openSync(place, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  });
  if (fd === undefined) return;
  try {
    for (const child of readdirSync(`/proc/self/fd/${fd}`, { encoding: 'buffer' })) removeBelow(fd, child);
  } finally {
    closeSync(fd);
  }
  tolerating([], () => rmdirSync(place));
}

/** True if `work` was done, or what it is for is gone; false for one of `errnos`. */
function tolerating(errnos: readonly string[], work: () => void): boolean {
  try {
    work();
    return true;
  } catch (error) {
    const errno = errnoOf(error) ?? '';
    if (errno === 'ENOENT') return true;
    if (errnos.includes(errno)) return false;
    throw error;
  }
}
