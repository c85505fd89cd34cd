import { chmodSync, chownSync, mkdirSync, stat, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { errnoOf, isRafterError, RafterError } from '../errors.js';
import { readXattrs, setTime, setXattr } from './inode.js';
import { isKernelAtLeast } from './kernel.js';
import { mount, mountAside, unmountAside } from './mount.js';
import { isMountPoint, type MountEntry } from './mountinfo.js';

/** How long to wait for the last process of a container to let go of its root file system. */
const UNMOUNT_TRIES = 40;
const UNMOUNT_PAUSE_MS = 50;

/** Kernel's Documentation/filesystems/overlayfs.rst: these separate layers and options, or quote. */
const SPECIAL = /[:,\\\n]/;

/** Type of an overlay in the table of mounts. */
const OVERLAY_TYPE = 'overlay';

export interface OverlayRequest {
  /** Tree to be seen underneath. Nothing is written to it. */
  lower: string;
  /** Existing directory; `upper` and `work` are in it, or are made. */
  directory: string;
  /** Existing directory where the writable tree appears. */
  target: string;
  /** What is written is to survive. Default: where the kernel can, it is spared the waiting for the disk (`volatile`, Linux 5.10). */
  kept?: boolean;
  /** This process serves the lower tree, so that another thread must wait for it. */
  isServedHere?: boolean;
}

/**
 * Mounts a writable tree over a read-only one. What is written ends up in `<directory>/upper`. The root of the tree has owner, mode,
 * time, ACLs and other extended attributes of the lower one, if `upper` is made here.
 * USAGE if a path has a character that overlayfs takes for a separator; FAILED with a hint if the file system of
 * `directory` cannot hold an upper tree.
 */
export async function mountOverlay({
  lower,
  directory,
  target,
  kept = false,
  isServedHere = false,
}: OverlayRequest): Promise<void> {
  const upper = upperOf(directory);
  const work = join(directory, 'work');
  for (const path of [lower, upper]) {
    if (SPECIAL.test(path))
      throw new RafterError('USAGE', `overlayfs cannot use the path ${JSON.stringify(path)}`, {
        hint: 'choose a directory without colon, comma, backslash and newline (--upper, --data-root, --run-dir)',
      });
  }
  await makeLike(upper, lower, { isServedHere });
  makeDirectory(work);
  const options = [`lowerdir=${lower}`, `upperdir=${upper}`, `workdir=${work}`];
  if (!kept && isKernelAtLeast(5, 10)) options.push('volatile');
  try {
    const overlay = { source: 'overlay', target, type: OVERLAY_TYPE, data: options.join(',') };
    if (isServedHere) await mountAside(overlay);
    else mount(overlay);
  } catch (error) {
    if (!isRafterError(error, 'FAILED')) throw error;
    throw new RafterError('FAILED', error.message, {
      cause: error,
      hint: `overlayfs must be able to write in ${directory}: it has to be on ext4, xfs, btrfs or tmpfs`,
    });
  }
}

/** Where overlays of `directory` keep what is written. */
function upperOf(directory: string): string {
  return join(directory, 'upper');
}

/** True if `mount` is an overlay that writes to `directory`. */
export function writesTo({ type, superOptions }: MountEntry, directory: string): boolean {
  return type === OVERLAY_TYPE && superOptions.includes(`upperdir=${upperOf(directory)}`);
}

/** The tree that `mount`, an overlay of `mountOverlay`, stands on; undefined for any other mount. */
export function lowerOf({ type, superOptions }: MountEntry): string | undefined {
  if (type !== OVERLAY_TYPE) return undefined;
  return superOptions.find((option) => option.startsWith(LOWER))?.slice(LOWER.length);
}
const LOWER = 'lowerdir=';

/**
 * Unmounts what `mountOverlay` mounted, on another thread; does nothing if nothing is mounted there. Processes that end take a moment,
 * so it tries for two seconds before it takes the mount away from under whoever still uses it.
 */
export async function unmountOverlay(target: string): Promise<void> {
  for (let tries = UNMOUNT_TRIES; await isMountPoint(target); tries--) {
    try {
      await unmountAside(target, { detach: tries <= 0 });
    } catch (error) {
      if (!isRafterError(error, 'BUSY') || tries <= 0) throw error;
      await sleep(UNMOUNT_PAUSE_MS);
    }
  }
}

/** What overlayfs keeps for itself, and what a security module gives to every new file by its own rules. */
const NOT_COPIED = /^(trusted\.overlay\.|security\.selinux$)/;
/** Who may do what depends on these. Overlayfs, too, does without any other when it copies to a file system that has none. */
const NEEDED = /^(system\.posix_acl_|security\.)/;

/** Makes the directory `path` with the attributes of `model`; does nothing if it is there already. */
async function makeLike(
  path: string,
  model: string,
  { isServedHere }: { isServedHere: boolean },
): Promise<void> {
  if (!makeDirectory(path)) return;
  const { uid, gid, mode, mtimeNs } = isServedHere
    ? await promisify(stat)(model, { bigint: true })
    : statSync(model, { bigint: true });
  const xattrs = await readXattrs(Buffer.from(model), { isServedHere });
  chownSync(path, Number(uid), Number(gid));
  chmodSync(path, Number(mode) & 0o7777);
  const place = Buffer.from(path);
  for (const { name, value } of xattrs) {
    const text = name.toString('latin1');
    if (NOT_COPIED.test(text)) continue;
    try {
      setXattr(place, name, value);
    } catch (error) {
      if (NEEDED.test(text) || !isRafterError(error, 'UNSUPPORTED')) throw error;
    }
  }
  const nanoseconds = ((mtimeNs % SECOND) + SECOND) % SECOND;
  setTime(place, { seconds: Number((mtimeNs - nanoseconds) / SECOND), nanoseconds: Number(nanoseconds) });
}

const SECOND = 1_000_000_000n;

/** False if it is there already. */
function makeDirectory(path: string): boolean {
  try {
    mkdirSync(path, { mode: 0o755 });
    return true;
  } catch (error) {
    if (errnoOf(error) === 'EEXIST' && statSync(path).isDirectory()) return false;
    throw error;
  }
}
