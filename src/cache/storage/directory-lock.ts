import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isRafterError, RafterError } from '../../errors.js';
import { type FileLock, lockFile } from '../../os/file-lock.js';
import { makeDirectoriesSync } from '../../os/make-directories.js';

const LOCK_NAME = 'lock';
const DIRECTORY_MODE = 0o700;

/**
 * Takes cache directory `dir`, made if it is not there, for this process, for as long as it lives or until the lock is released. The lock of a
 * process that died counts for nothing. Throws BUSY with the holder's process id, and what the system says.
 */
export function lockDirectory(dir: string): FileLock {
  makeDirectoriesSync(dir, DIRECTORY_MODE);
  const path = join(dir, LOCK_NAME);
  let lock: FileLock;
  try {
    lock = lockFile(path);
  } catch (error) {
    if (!isRafterError(error, 'BUSY')) throw error;
    throw new RafterError('BUSY', `cache directory ${dir} is in use by ${holderOf(path)}`, {
      cause: error,
      hint: 'end that process, or choose another data directory',
    });
  }
  try {
    writeFileSync(path, `${process.pid}\n`);
  } catch {
    // The number is for messages; a full disk must not keep the cache from working.
  }
  return lock;
}

function holderOf(path: string): string {
  try {
    const pid = readFileSync(path, 'latin1').trim();
    if (/^\d{1,10}$/.test(pid)) return `process ${pid}`;
  } catch {
    // Without the number the message is still true.
  }
  return 'another process';
}
