import { setTimeout as sleep } from 'node:timers/promises';
import { isRafterError, RafterError } from '../../errors.js';
import { type FileLock, lockFile } from '../../os/file-lock.js';
import { callDaemon } from '../api/api-client.js';
import type { RunFiles } from '../client/run-dir.js';

/** How long a daemon that does not answer may hold the lock, and how often to look, in milliseconds. */
const LOCK_PATIENCE = 10_000;
const LOCK_POLL = 20;
/** How long a daemon may take to answer, in milliseconds. A service manager's socket takes requests also while nobody answers. */
const ANSWER_PATIENCE = 1_000;
/** How long the lock of the cache may be held after that of the run directory is free, in milliseconds. */
const CACHE_PATIENCE = 2_000;

/**
 * The lock of the run directory. A daemon that was killed may hold it for a moment after it stopped answering: until its
 * last thread is gone. Throws BUSY for one that answers, which is there to stay.
 */
export async function takeLock(files: RunFiles, runDir: string): Promise<FileLock> {
  for (const end = Date.now() + LOCK_PATIENCE; ; await sleep(LOCK_POLL)) {
    try {
      return lockFile(files.lock);
    } catch (error) {
      if (!isRafterError(error, 'BUSY')) throw error;
      const answers = await callDaemon(files.socket, 'GET /v1/status', {
        signal: AbortSignal.timeout(ANSWER_PATIENCE),
      }).then(
        () => true,
        () => false,
      );
      if (answers || Date.now() > end)
        throw new RafterError('BUSY', `another daemon serves ${runDir}`, { cause: error });
    }
  }
}

/**
 * Does `work` again while it throws BUSY, for a moment: a daemon that was killed gives up the lock of the cache later than that
 * of the run directory.
 */
export async function patiently<T>(work: () => Promise<T>): Promise<T> {
  for (const end = Date.now() + CACHE_PATIENCE; ; await sleep(LOCK_POLL)) {
    try {
      return await work();
    } catch (error) {
      if (!isRafterError(error, 'BUSY') || Date.now() > end) throw error;
    }
  }
}
