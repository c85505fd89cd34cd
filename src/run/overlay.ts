import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isRafterError, RafterError } from '../errors.js';
import { mount, unmount } from '../os/mount.js';
import { isMountPoint } from '../os/mountinfo.js';
import { isKernelAtLeast } from './machine.js';

/** How long to wait for the last process of a container to let go of its root file system. */
const UNMOUNT_TRIES = 40;
const UNMOUNT_PAUSE_MS = 50;

/** Kernel's Documentation/filesystems/overlayfs.rst: these separate layers and options, or quote. */
const SPECIAL = /[:,\\\n]/;

export interface OverlayRequest {
  /** Tree to be seen underneath. Nothing is written to it. */
  lower: string;
  /** Existing directory; `upper` and `work` are made in it. */
  directory: string;
  /** Existing directory where the writable tree appears. */
  target: string;
}

/**
 * Mounts a writable tree over a read-only one. What is written ends up in `<directory>/upper` and is not meant to
 * survive: where the kernel can, it is spared the waiting for the disk (`volatile`, Linux 5.10).
 * USAGE if a path has a character that overlayfs takes for a separator; FAILED with a hint if the file system of
 * `directory` cannot hold an upper tree.
 */
export function mountOverlay({ lower, directory, target }: OverlayRequest): void {
  const upper = join(directory, 'upper');
  const work = join(directory, 'work');
  for (const path of [lower, upper]) {
    if (SPECIAL.test(path))
      throw new RafterError('USAGE', `overlayfs cannot use the path ${JSON.stringify(path)}`, {
        hint: 'choose a directory without colon, comma, backslash and newline (--data-root, --run-dir)',
      });
  }
  for (const path of [upper, work]) mkdirSync(path, { mode: 0o755 });
  const options = [`lowerdir=${lower}`, `upperdir=${upper}`, `workdir=${work}`];
  if (isKernelAtLeast(5, 10)) options.push('volatile');
  try {
    mount({ source: 'overlay', target, type: 'overlay', data: options.join(',') });
  } catch (error) {
    if (!isRafterError(error, 'FAILED')) throw error;
    throw new RafterError('FAILED', error.message, {
      cause: error,
      hint: `overlayfs must be able to write in ${directory}: put --data-root on ext4, xfs, btrfs or tmpfs`,
    });
  }
}

/**
 * Unmounts what `mountOverlay` mounted; does nothing if nothing is mounted there. Processes that end take a moment, so
 * it tries for two seconds before it takes the mount away from under whoever still uses it.
 */
export async function unmountOverlay(target: string): Promise<void> {
  for (let tries = UNMOUNT_TRIES; await isMountPoint(target); tries--) {
    try {
      unmount(target, { detach: tries <= 0 });
    } catch (error) {
      if (!isRafterError(error, 'BUSY') || tries <= 0) throw error;
      await sleep(UNMOUNT_PAUSE_MS);
    }
  }
}
