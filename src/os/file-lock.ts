import { closeSync, openSync } from 'node:fs';
import { RafterError } from '../errors.js';
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
  if (libc().flock(fd, LOCK_EX | LOCK_NB) !== 0) {
    const errno = libc().errno();
    closeSync(fd);
    const error = systemError(errno, `lock ${path}`);
    throw error.code === 'BUSY' ? new RafterError('BUSY', `another process holds ${path}`) : error;
  }
  return { release: () => closeSync(fd) };
}
