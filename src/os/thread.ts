import { constants } from 'node:os';
import { systemError } from './errno.js';
import { libc } from './libc.js';

/**
 * True, exactly once, if the thread with this pthread_t has ended; what it left behind is freed. False while it runs.
 * Asking again after true is a use of freed memory.
 */
export function threadEnded(thread: bigint): boolean {
  const errno = libc().pthread_tryjoin_np(thread, null);
  if (errno !== 0 && errno !== constants.errno.EBUSY) throw systemError(errno, 'join a thread');
  return errno === 0;
}
