import { randomUUID } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, open, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoOf } from '../errors.js';

/** open(2), Linux: a file without a name, which goes with its last descriptor. The same bit on x86-64 and arm64. */
const O_TMPFILE = 0o20000000 | constants.O_DIRECTORY;

/**
 * An empty file without a name on the file system of the directory `dir`, to read and to write. Nothing is left of it, however
 * this process ends; only where the file system has no such files (NFS, or overlayfs before Linux 6.3) is there a name for a moment.
 * Throws what open(2) does.
 */
export async function openNameless(dir: string): Promise<FileHandle> {
  try {
    return await open(dir, O_TMPFILE | constants.O_RDWR, 0o600);
  } catch (error) {
    if (errnoOf(error) !== 'EOPNOTSUPP' && errnoOf(error) !== 'ENOTSUP') throw error;
    return openUnlinked(join(dir, `.rafter-${randomUUID()}`));
  }
}

/** Creates `path`, which must not be there, and takes its name away at once. */
export async function openUnlinked(path: string): Promise<FileHandle> {
  const handle = await open(path, 'wx+', 0o600);
  try {
    await unlink(path);
    return handle;
  } catch (error) {
    await handle.close();
    throw error;
  }
}
