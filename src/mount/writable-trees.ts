import { readdir, readFile, realpath, rm, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoOf, isRafterError, messageOf, RafterError } from '../errors.js';
import { lockFile } from '../os/file-lock.js';
import { makeDirectories } from '../os/make-directories.js';
import { unmount } from '../os/mount.js';
import { findMount, readMounts } from '../os/mountinfo.js';
import { mountOverlay, writesTo } from '../os/overlay.js';
import { systemReason } from '../os/system-error.js';
import type { MountInfo } from './api/api.js';
import type { DaemonLog } from './daemon-log.js';
import type { ActiveMount } from './drivers/active-mount.js';
import { createMountWatcher } from './drivers/mount-watcher.js';
import { lowerDirectory, removeCovered } from './lower-mounts.js';

type Writable = NonNullable<MountInfo['writable']>;

interface Tree {
  /** Of the mount. */
  id: string;
  /** Where users see it; canonical. */
  mountpoint: string;
}

/**
 * Writable mounts: the image is mounted at `<run dir>/lower/<id>`, an overlay of it at the user's mount point. The overlay goes
 * first, whoever unmounts it, then the image, then what was written, if it is not to be kept.
 */
export interface WritableTrees {
  /** Where the image of mount `id` is mounted. */
  lowerOf(id: string): Promise<string>;
  /**
   * Mounts an image with `mountLower`, and a writable tree of it at `mountpoint`. What is written goes to `directory`, absolute,
   * which is made if it is missing; without it to one that is removed at unmount. `digest` is that of the image's manifest: what
   * was written over one image makes no sense over another.
   * Throws UNSUPPORTED without root, BUSY if another mount uses `directory`, USAGE if it belongs to another image, FAILED if
   * overlayfs does not take it, and what `mountLower` throws. Nothing is mounted then.
   */
  mount(
    tree: Tree & { digest: string; directory?: string | undefined },
    mountLower: (at: string) => Promise<ActiveMount>,
  ): Promise<{ active: ActiveMount; writable: Writable }>;
  /** Goes on with a mount of another daemon, whose overlay is the file system `device`. */
  resume(tree: Tree & Writable & { device: string }, lower: ActiveMount): Promise<ActiveMount>;
  /** Takes away what daemons left that died, but for the mounts `alive` (ids). */
  cleanUp(alive: ReadonlySet<string>): Promise<void>;
}

/** Says for which image a directory keeps what was written. */
const IMAGE_NAME = 'image';
/** Locked while a mount is made. */
const LOCK_NAME = 'lock';

export function createWritableTrees(options: {
  runDir: string;
  dataRoot: string;
  log: DaemonLog;
}): WritableTrees {
  const { runDir, log } = options;
  const temporary = join(options.dataRoot, 'writable');
  const watcher = createMountWatcher();
  const lowerOf = async (id: string) => join(await lowerDirectory(runDir), id);

  /** The overlay on `lower` until it has gone; then `lower` goes, too. */
  async function watched(
    tree: Tree & Writable & { device: string },
    lower: ActiveMount,
  ): Promise<ActiveMount> {
    const { id, mountpoint, device, directory, kept } = tree;
    const at = await lowerOf(id);
    const uncovered = watcher.gone(mountpoint, device).then(async () => {
      try {
        await lower.unmount({ detach: true });
      } catch (error) {
        // FAILED: it is not mounted any more.
        if (!isRafterError(error, 'FAILED')) log.error('cannot unmount', { mountpoint: at, error });
      }
    });
    const ended = Promise.all([lower.ended, uncovered]).then(async () => {
      await rmdir(at).catch(() => {});
      if (!kept) await removeTree(directory);
    });
    const { handOver } = lower;
    return {
      ended,
      ...(handOver !== undefined && { handOver }),
      async unmount({ detach = false } = {}) {
        unmount(mountpoint, { detach });
        await watcher.look();
      },
    };
  }

  async function removeTree(directory: string): Promise<void> {
    try {
      await rm(directory, { recursive: true, force: true });
    } catch (error) {
      log.error('cannot remove what was written to a mount', { directory, error });
    }
  }

  return {
    lowerOf,

    async mount({ id, mountpoint, digest, directory: wanted }, mountLower) {
      if (process.geteuid?.() !== 0) throw new RafterError('UNSUPPORTED', 'a writable mount needs root');
      const kept = wanted !== undefined;
      const directory = await makeUpperDirectory(wanted ?? join(temporary, id));
      const release = await reserve(directory, digest);
      const at = await lowerOf(id);
      try {
        await makeDirectories(at, 0o700);
        const lower = await mountLower(at);
        try {
          await mountOverlay({ lower: at, directory, target: mountpoint, kept, isServedHere: true });
        } catch (error) {
          await lower.unmount({ detach: true });
          await lower.ended;
          throw error;
        }
        const device = (await findMount(mountpoint))?.device ?? '';
        const active = await watched({ id, mountpoint, directory, kept, device }, lower);
        return { active, writable: { directory, kept } };
      } catch (error) {
        await rmdir(at).catch(() => {});
        if (!kept) await removeTree(directory);
        throw error;
      } finally {
        release();
      }
    },

    resume: watched,

    async cleanUp(alive) {
      const removed = await removeCovered(runDir, { keep: (id) => alive.has(id) });
      if (removed.length > 0) log.warn('unmounted what a dead daemon left behind', { mountpoints: removed });
      for (const id of await readdir(temporary).catch(() => []))
        if (!alive.has(id)) await removeTree(join(temporary, id));
    },
  };
}

/** Canonical: mounts are told apart by it. */
async function makeUpperDirectory(path: string): Promise<string> {
  try {
    await makeDirectories(path, 0o700);
    return await realpath(path);
  } catch (cause) {
    const what = errnoOf(cause) === 'EEXIST' ? 'it is no directory' : systemReason(cause);
    throw new RafterError('USAGE', `what is written cannot be kept in ${path}: ${what}`, {
      cause,
      hint: 'name a directory with --upper; it is made if it is not there',
    });
  }
}

/**
 * Makes sure that `directory` is nobody else's, and this image's. The lock is for those who mount at the same time; from then
 * on the table of mounts says who uses it, also when the daemon is dead. Returns what gives the lock back.
 */
async function reserve(directory: string, digest: string): Promise<() => void> {
  let release = () => {};
  try {
    ({ release } = lockFile(join(directory, LOCK_NAME)));
    const user = (await readMounts()).find((mount) => writesTo(mount, directory));
    if (user !== undefined) throw new RafterError('BUSY', `${user.mountPoint} is mounted with it`);
    await claim(join(directory, IMAGE_NAME), digest);
    return release;
  } catch (error) {
    release();
    if (!isRafterError(error, 'BUSY')) throw error;
    throw new RafterError('BUSY', `another mount writes to ${directory}: ${messageOf(error)}`, {
      cause: error,
    });
  }
}

async function claim(path: string, digest: string): Promise<void> {
  const found = await readFile(path, 'utf8').catch((error) => {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  });
  if (found === undefined) return writeFile(path, `${digest}\n`, { mode: 0o600 });
  if (found.trim() !== digest)
    throw new RafterError(
      'USAGE',
      `${path}: what is kept there was written over another image, ${found.trim()}`,
      {
        hint: 'give another directory with --upper, or mount that image',
      },
    );
}
