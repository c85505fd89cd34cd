import { type FileHandle, open } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { RafterError } from '../../errors.js';
import { tryLock } from '../../os/file-lock.js';

const POLL_MS = 20;

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
  // Polled, not waited for: a blocking flock would occupy one of libuv's few threads.
  while (!tryLock(handle.fd, path)) {
    if (Date.now() >= deadline) {
      throw new RafterError('BUSY', `${path}: another program has been writing to it for too long`, {
        hint: 'wait for it to end, then try again',
      });
    }
    await sleep(POLL_MS);
  }
}
