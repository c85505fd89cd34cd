import { closeSync, constants, fstatSync, lstatSync, openSync, readlinkSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { errnoOf, RafterError } from '../errors.js';

/** Symbolic links followed on the way to one file, as many as the kernel follows. */
const MAX_LINKS = 40;

/**
 * Where `path` of a container is in the tree at `root`: every symbolic link on the way is followed as the container
 * would, so that none leads outside of the tree. Undefined if there is nothing. MALFORMED if links go in a circle.
 * The tree must not change meanwhile.
 */
export function resolveInRoot(root: string, path: string): string | undefined {
  const waiting = path.split('/').reverse();
  const done: string[] = [];
  for (let links = 0; waiting.length > 0; ) {
    const part = waiting.pop()!;
    if (part === '' || part === '.') continue;
    if (part === '..') {
      done.pop();
      continue;
    }
    const here = join(root, ...done, part);
    const stat = statOrUndefined(here);
    if (stat === undefined) return undefined;
    if (!stat.isSymbolicLink()) {
      done.push(part);
      continue;
    }
    if (++links > MAX_LINKS) throw new RafterError('MALFORMED', `${path}: too many symbolic links`);
    const target = readlinkSync(here);
    if (target.startsWith('/')) done.length = 0;
    waiting.push(...target.split('/').reverse());
  }
  return join(root, ...done);
}

/**
 * Text of a regular file of a container's tree; undefined if there is none. LIMIT_EXCEEDED if it has more than `limit`
 * bytes.
 */
export function readTextInRoot(root: string, path: string, limit: number): string | undefined {
  const file = resolveInRoot(root, path);
  if (file === undefined) return undefined;
  // Without O_NONBLOCK a FIFO in the image would block this process for ever.
  const fd = openSync(file, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    const stat = fstatSync(fd);
    if (!stat.isFile()) return undefined;
    if (stat.size > limit)
      throw new RafterError('LIMIT_EXCEEDED', `${path} of the image has more than ${limit} bytes`);
    const bytes = Buffer.alloc(stat.size);
    let length = 0;
    for (let read = -1; length < bytes.length && read !== 0; length += read)
      read = readSync(fd, bytes, length, bytes.length - length, length);
    return bytes.toString('utf8', 0, length);
  } finally {
    closeSync(fd);
  }
}

function statOrUndefined(path: string) {
  try {
    return lstatSync(path);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return undefined;
    throw error;
  }
}
