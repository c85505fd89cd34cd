import { randomBytes } from 'node:crypto';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { BlobCache } from '../cache/blob-cache.js';
import { RafterError } from '../errors.js';
import { type DeviceMount, mountOverDevice } from '../fuse/device-mount.js';
import type { DeviceServer } from '../fuse/device-server.js';
import { FUSE_TYPE } from '../fuse/mount-options.js';
import { unmountFuse } from '../fuse/unmount.js';
import { unmount } from '../os/mount.js';
import { mountErofs } from '../os/mount-erofs.js';
import { findMount } from '../os/mountinfo.js';
import type { ActiveMount } from './active-mount.js';
import { BlobDirectory, type BlobFile } from './blob-directory.js';
import type { DaemonLog } from './daemon-log.js';
import { checkForKernel } from './kernel-check.js';
import type { MountWatcher } from './mount-watcher.js';
import type { NydusImage } from './nydus-image.js';
import type { ReaderSpec } from './shared-view.js';

/**
 * The erofs driver: the kernel serves the tree, from the bootstrap itself. It reads blobs in decoded address space: one that
 * is complete on disk from the cache's own file, any other from a file of the one FUSE mount of the node, which this daemon
 * serves.
 */
export interface ErofsDriver {
  /** Throws UNSUPPORTED if the kernel or the image cannot do it; MALFORMED and others as every mount. */
  mount(
    image: NydusImage,
    blobs: readonly BlobCache[],
    where: { id: string; mountpoint: string },
  ): Promise<ActiveMount>;
  /** Unmounts the FUSE mount for blobs. Every image must be unmounted. */
  close(): Promise<void>;
}

export interface ErofsDriverOptions {
  /** Directory that the FUSE mount for blobs is made in. */
  runDir: string;
  /** Directory for a bootstrap until the kernel has it open. */
  tempDir: string;
  server: () => DeviceServer;
  watcher: MountWatcher;
  log: DaemonLog;
}

/** How long the kernel may take to let go of the FUSE mount for blobs, in milliseconds. */
const CLOSE_PATIENCE_MS = 1000;

export function createErofsDriver(options: ErofsDriverOptions): ErofsDriver {
  const { runDir, tempDir, server, watcher, log } = options;
  const mountpoint = join(runDir, 'blobs');
  let serving: { mount: DeviceMount; directory: BlobDirectory } | undefined;
  let starting: Promise<NonNullable<typeof serving>> | undefined;

  async function serveBlobs(): Promise<NonNullable<typeof serving>> {
    await mkdir(mountpoint, { recursive: true, mode: 0o700 }).catch(() => {});
    // A dead daemon's, which nobody can look into any more.
    while ((await findMount(mountpoint))?.type === FUSE_TYPE) await unmountFuse(mountpoint, { detach: true });
    await mkdir(mountpoint, { recursive: true, mode: 0o700 });
    const directory: BlobDirectory = new BlobDirectory((update) => mount.update(update));
    const spec: ReaderSpec = { kind: 'blobs' };
    const onError = (operation: string, node: number, error: unknown) =>
      log.error('a reader got EIO', { operation, file: join(mountpoint, directory.nameOf(node)), error });
    const mount = mountOverDevice(mountpoint, server(), { fs: directory, spec, onError });
    serving = { mount, directory };
    return serving;
  }

  const blobsServed = () => {
    starting ??= serveBlobs().catch((error) => {
      starting = undefined;
      throw error;
    });
    return starting;
  };

  async function devicesOf(
    blobs: readonly BlobCache[],
    { id, files }: { id: string; files: BlobFile[] },
  ): Promise<string[]> {
    const devices: string[] = [];
    for (const [index, blob] of blobs.entries()) {
      const local = blob.isComplete ? blob.share() : undefined;
      if (local !== undefined) {
        devices.push(`/proc/self/fd/${local.fd}`);
        continue;
      }
      const { directory } = await blobsServed();
      const file = directory.add(`${id}.${index}`, blob);
      files.push(file);
      devices.push(join(mountpoint, file.name));
    }
    return devices;
  }

  return {
    async mount(image, blobs, where) {
      if (process.geteuid?.() !== 0) throw new RafterError('UNSUPPORTED', 'the driver erofs needs root');
      checkForKernel(image.bootstrap);
      const files: BlobFile[] = [];
      const removeFiles = () => {
        for (const file of files) file.remove();
      };
      const bootstrap = join(tempDir, `bootstrap-${process.pid}-${randomBytes(6).toString('hex')}`);
      try {
        const devices = await devicesOf(blobs, { id: where.id, files });
        await mkdir(tempDir, { recursive: true, mode: 0o700 });
        await writeFile(bootstrap, Buffer.from(image.bootstrapBytes), { mode: 0o600, flag: 'wx' });
        await mountErofs({ bootstrap, devices, target: where.mountpoint });
      } catch (error) {
        removeFiles();
        throw error;
      } finally {
        // The kernel has it open.
        await rm(bootstrap, { force: true });
      }
      const device = (await findMount(where.mountpoint))?.device ?? '';
      const ended = watcher.gone(where.mountpoint, device).then(async () => {
        await Promise.all(files.map((file) => file.closed()));
        removeFiles();
      });
      return {
        ended,
        async unmount({ detach = false } = {}) {
          unmount(where.mountpoint, { detach });
          await watcher.look();
        },
      };
    },

    async close() {
      if (serving === undefined) return;
      await serving.mount.unmount({ detach: true });
      // Images that were taken away while in use still have their blobs open.
      await Promise.race([serving.mount.ended, sleep(CLOSE_PATIENCE_MS, undefined, { ref: false })]);
    },
  };
}
