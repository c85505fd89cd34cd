import { realpath, rmdir } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { unmountFuse } from '../fuse/unmount.js';
import { type MountEntry, readMounts } from '../os/mountinfo.js';
import { lowerOf } from '../os/overlay.js';

/** Where images are mounted that writable trees stand on: `<run dir>/lower/<id of the mount>`. */
export async function lowerDirectory(runDir: string): Promise<string> {
  return join(await realpath(runDir).catch(() => runDir), 'lower');
}

/**
 * Takes away writable trees together with what they stand on, in use or not: those that nobody serves any more. `keep` says by
 * their ids which stay, `only` by their mount points which go. Returns where they were.
 */
export async function removeCovered(
  runDir: string,
  {
    keep = () => false,
    only = () => true,
  }: { keep?: (id: string) => boolean; only?: (mountpoint: string) => boolean } = {},
): Promise<string[]> {
  const parent = await lowerDirectory(runDir);
  const mounts = await readMounts();
  const isStale = (lower: string | undefined) =>
    lower !== undefined && dirname(lower) === parent && !keep(basename(lower));
  const overlays = mounts.filter((entry) => isStale(lowerOf(entry)) && only(entry.mountPoint));
  const standsOn = new Set(overlays.map(lowerOf));
  const lowers = mounts.filter(
    ({ mountPoint }) => isStale(mountPoint) && (standsOn.has(mountPoint) || only(mountPoint)),
  );
  // The last at a place is the topmost.
  for (const { mountPoint } of overlays.toReversed()) await unmountFuse(mountPoint, { detach: true });
  for (const { mountPoint } of lowers.toReversed()) await removeLower(mountPoint);
  return overlays.map(({ mountPoint }: MountEntry) => mountPoint);
}

async function removeLower(path: string): Promise<void> {
  await unmountFuse(path, { detach: true });
  await rmdir(path).catch(() => {});
}
