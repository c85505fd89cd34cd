import { type FileHandle, open } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import koffi from 'koffi';
import { RafterError } from '../errors.js';

/** flock(2) operations and errors, as Linux numbers them. */
const LOCK_EX = 2;
const LOCK_NB = 4;
const EWOULDBLOCK = 11;
const EINTR = 4;

const POLL_MS = 20;

let flock: ((fd: number, operation: number) => number) | undefined;

/**
 * Runs `work` while this process holds the advisory lock (flock(2)) of the directory `path`, which is the only one
 * that does; the kernel lets go of it when a holder dies. Waits at most `waitMs` milliseconds: then BUSY.
 */
export async function withDirectoryLock<T>(
  path: string,
  work: () => Promise<T>,
  { waitMs = 60_000 }: { waitMs?: number } = {},
): Promise<T> {
  const handle = await open(path, 'r');
  try {
    await acquire(handle, path, Date.now() + waitMs);
    return await work();
  } finally {
    await handle.close();
  }
}

async function acquire(handle: FileHandle, path: string, deadline: number): Promise<void> {
  flock ??= koffi.load('libc.so.6').func('int flock(int, int)') as NonNullable<typeof flock>;
  // Polled, not waited for: a blocking flock would occupy one of libuv's few threads.
  for (;;) {
    if (flock(handle.fd, LOCK_EX | LOCK_NB) === 0) return;
    const errno = koffi.errno();
    if (errno !== EWOULDBLOCK && errno !== EINTR) {
      throw new RafterError('FAILED', `${path}: cannot be locked (flock failed with errno ${errno})`);
    }
    if (Date.now() >= deadline) {
      throw new RafterError('BUSY', `${path}: another program has been writing to it for too long`, {
        hint: 'wait for it to end, then try again',
      });
    }
    await sleep(POLL_MS);
  }
}
