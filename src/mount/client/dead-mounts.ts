import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { FUSE_TYPE } from '../../fuse/mount-options.js';
import { unmountFuse } from '../../fuse/unmount.js';
import type { FileLock } from '../../os/file-lock.js';
import { findMount } from '../../os/mountinfo.js';
import { takeLock } from '../daemon/daemon-lock.js';
import { removeCovered } from '../lower-mounts.js';
import { cleanUpDeadMounts } from '../mount-state.js';
import { hasSupervisor, runFiles } from './run-dir.js';

/**
 * Takes away the mounts of a daemon that died together with its supervisor: nobody serves them any more. Returns where they
 * were; nothing while a daemon or a supervisor lives, or where this user may not look. Waits for a daemon that has been killed and is not
 * quite gone.
 */
export async function takeAwayDeadMounts(runDir: string): Promise<string[]> {
  const files = runFiles(runDir);
  if (!existsSync(files.state) || hasSupervisor(runDir)) return [];
  let lock: FileLock;
  try {
    lock = await takeLock(files, runDir);
  } catch {
    return [];
  }
  try {
    const covered = await removeCovered(runDir);
    const removed = [...covered, ...(await cleanUpDeadMounts(files.state, { warn() {}, error() {} }))];
    const blobs = join(runDir, 'blobs');
    if ((await findMount(blobs))?.type === FUSE_TYPE) await unmountFuse(blobs, { detach: true });
    return removed;
  } finally {
    lock.release();
  }
}
