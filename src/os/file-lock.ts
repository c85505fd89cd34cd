import { closeSync, constants, fstatSync, lstatSync, openSync } from 'node:fs';
import { errnoOf, RafterError } from '../errors.js';
import { systemError } from './errno.js';
import { libc } from './libc.js';

/** Operations of flock(2). */
const LOCK_EX = 2;
const LOCK_NB = 4;

export interface FileLock {
  /** Gives the lock back. The file stays: removing it would let two processes lock different files of one name. */
  release(): void;
}

/**
 * Takes an exclusive flock(2) on `path`, created with mode 0600. The kernel releases it when the process ends,
 * however it ends, so a lock that is held always means a living process.
 * Throws BUSY if another process (or another call in this one) holds it.
 */
export function lockFile(path: string): FileLock {
  const fd = openSync(path, 'a', 0o600);
  let taken = false;
  try {
    taken = tryLock(fd, path);
  } finally {
    if (!taken) closeSync(fd);
  }
  if (!taken) throw new RafterError('BUSY', `another process holds ${path}`);
  return { release: () => closeSync(fd) };
}

/**
 * As `lockFile`, for a file that is there: whoever removes a lock's file holds the lock. Undefined if there is none, if another
 * process holds it, or if that one has just removed it.
 */
export function lockExistingFile(path: string): FileLock | undefined {
  const isStill = (fd: number) => fstatSync(fd).nlink > 0;
  return lockThere(path, { flags: constants.O_RDONLY, absent: ['ENOENT'], isStill });
}

/**
 * As `lockExistingFile`, for a directory: whoever removes it holds its lock. A symlink or a file is no directory that is there. Throws
 * with the errno's name where directories cannot be locked.
 */
export function lockExistingDirectory(path: string): FileLock | undefined {
  const { O_RDONLY, O_DIRECTORY, O_NOFOLLOW } = constants;
  const isStill = (fd: number) => lstatSync(path, { throwIfNoEntry: false })?.ino === fstatSync(fd).ino;
  const absent = ['ENOENT', 'ENOTDIR', 'ELOOP'];
  return lockThere(path, { flags: O_RDONLY | O_DIRECTORY | O_NOFOLLOW, absent, isStill });
}

/** The lock of what `path` names; undefined if to open it fails with one of `absent`, it is locked, or, once locked, is not there any more. */
function lockThere(
  path: string,
  { flags, absent, isStill }: { flags: number; absent: string[]; isStill: (fd: number) => boolean },
): FileLock | undefined {
  let fd: number;
  try {
    fd = openSync(path, flags);
  } catch (error) {
    if (absent.includes(errnoOf(error) ?? '')) return undefined;
    throw error;
  }
  let taken = false;
  try {
    taken = tryLock(fd, path) && isStill(fd);
  } finally {
    if (!taken) closeSync(fd);
  }
  return taken ? { release: () => closeSync(fd) } : undefined;
}

/**
 * Takes an exclusive flock(2) on the open file or directory `fd`, which keeps it until it is closed. False if another
 * one holds it. `path` is for the error if it cannot be locked at all.
 */
export function tryLock(fd: number, path: string): boolean {
  if (libc().flock(fd, LOCK_EX | LOCK_NB) === 0) return true;
  const error = systemError(libc().errno(), `lock ${path}`);
  if (error.code === 'BUSY') return false;
  throw error;
}
