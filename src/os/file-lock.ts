import { closeSync, fstatSync, openSync } from 'node:fs';
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
  let fd: number;
  try {
    fd = openSync(path, 'r');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
  let taken = false;
  try {
    taken = tryLock(fd, path) && fstatSync(fd).nlink > 0;
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
