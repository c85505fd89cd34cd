import { FUSE_TYPE } from '../../fuse/mount-options.js';
import { unmountFuse } from '../../fuse/unmount.js';
import { findMount } from '../../os/mountinfo.js';
import { removeCovered } from '../lower-mounts.js';
import { canonicalMountPoint, notMounted } from '../mount-point.js';
import { isRecordedMount } from '../mount-state.js';
import { runFiles } from './run-dir.js';

/**
 * Takes away the mount at `path`, absolute, that a dead daemon of `runDir` has left there. NOT_FOUND if none of its mounts is there.
 * The caller knows that no daemon runs.
 */
export async function unmountLeftover(runDir: string, path: string): Promise<void> {
  const mountpoint = await canonicalMountPoint(path);
  const { state: stateFile } = runFiles(runDir);
  const covered = await removeCovered(runDir, { only: (overlay) => overlay === mountpoint });
  if (covered.length > 0) return;
  const known = await isRecordedMount(stateFile, mountpoint);
  if (!known && (await findMount(mountpoint))?.type !== FUSE_TYPE) throw notMounted(path);
  await unmountFuse(mountpoint, { detach: true });
}
