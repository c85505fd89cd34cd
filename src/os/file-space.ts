import { systemError } from './errno.js';
import { libc } from './libc.js';

/** Modes of fallocate(2). */
const KEEP_SIZE = 0x01;
const PUNCH_HOLE = 0x02;

/** Commands and arguments of fcntl(2). */
const F_SETSIG = 10;
const F_SETLEASE = 1024;
const F_WRLCK = 1;
const F_UNLCK = 2;
/** A signal that does nothing to a process without a handler for it. */
const SIGURG = 23;

/**
 * Gives the disk space of `length` bytes from `offset` of the open file `fd` back: they read as zeros afterwards. Whole blocks of
 * the file system are given back, the rest is overwritten. Throws UNSUPPORTED where the file system cannot do it.
 */
export function punchHole(fd: number, offset: number, length: number): void {
  if (libc().fallocate(fd, PUNCH_HOLE | KEEP_SIZE, offset, length) !== 0)
    throw systemError(libc().errno(), 'give disk space back');
}

/**
 * True if nobody but `fd` has its regular file open, no other process, no mount of the kernel: one that has gets no write
 * lease (fcntl(2), F_SETLEASE). False also where the file system has no leases.
 */
export function isOnlyOpen(fd: number): boolean {
  const { fcntl } = libc();
  // Somebody who opens the file meanwhile waits for a moment, and this process gets a signal. SIGIO would end it.
  if (fcntl(fd, F_SETSIG, SIGURG) !== 0 || fcntl(fd, F_SETLEASE, F_WRLCK) !== 0) return false;
  fcntl(fd, F_SETLEASE, F_UNLCK);
  return true;
}
