import { randomBytes } from 'node:crypto';
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { BlobCache } from '../cache/blob-cache.js';
import { RafterError } from '../errors.js';
import { explainFull } from '../os/disk-full.js';
import { unmount } from '../os/mount.js';
import { mountErofs } from '../os/mount-erofs.js';
import { findMount } from '../os/mountinfo.js';
import type { ActiveMount, HandOver, Serving } from './active-mount.js';
import type { BlobFile } from './blob-directory.js';
import { type BlobServiceOptions, createBlobService } from './blob-service.js';
import { checkForKernel } from './kernel-check.js';
import type { MountWatcher } from './mount-watcher.js';
import { type NydusImage, treeOf } from './nydus-image.js';

/**
 * The erofs driver: the kernel serves the tree, from the bootstrap itself. It reads blobs in decoded address space: one that
 * is complete on disk from the cache's own file, any other from a file of the one FUSE mount of the node, which this daemon
 * serves. Where reads are noted in a trace, all blobs are served: what the kernel reads by itself nobody sees.
 */
export interface ErofsDriver {
  /** Throws UNSUPPORTED if the kernel or the image cannot do it; MALFORMED and others as every mount. */
  mount(
    image: NydusImage,
    blobs: readonly BlobCache[],
    where: Serving & { id: string; mountpoint: string },
  ): Promise<ActiveMount>;
  /** Goes on with a mount of another daemon, whose readers wait until `resumed`. */
  resume(
    blobs: readonly BlobCache[],
    where: Serving & { mountpoint: string; handOver: Extract<HandOver, { driver: 'erofs' }> },
  ): ActiveMount;
  /** All mounts of the other daemon are back: lets their readers go on. */
  resumed(): Promise<void>;
  /** Unmounts the FUSE mount for blobs. Every image must be unmounted. */
  close(): Promise<void>;
}

export interface ErofsDriverOptions extends BlobServiceOptions {
  /** Directory that the FUSE mount for blobs is made in. */
  runDir: string;
  /** Directory for a bootstrap until the kernel has it open. */
  tempDir: string;
  watcher: MountWatcher;
}

export function createErofsDriver(options: ErofsDriverOptions): ErofsDriver {
  const { tempDir, watcher } = options;
  const mountpoint = join(options.runDir, 'blobs');
  const served = createBlobService(mountpoint, options);

  /** The files that the kernel is to read `blobs` from. Those that have to be served are added to `files`. */
  async function devicesOf(
    blobs: readonly BlobCache[],
    { id, files, readTimeout, trace }: Serving & { id: string; files: OpenedFile[] },
  ): Promise<string[]> {
    const devices: string[] = [];
    for (const [index, blob] of blobs.entries()) {
      const local = trace === undefined ? blob.lend() : undefined;
      if (local !== undefined) {
        devices.push(`/proc/self/fd/${local.fd}`);
        continue;
      }
      await served.start();
      const file = served.directory.add(`${id}.${index}`, blob, {
        readTimeout,
        trace: trace && { memory: trace, blob: index },
      });
      files.push({ index, file });
      devices.push(join(mountpoint, file.name));
    }
    return devices;
  }

  /** A mount that is there, until it has gone and the kernel has closed its blobs. */
  function watched(target: string, device: string, files: OpenedFile[]): ActiveMount {
    const ended = watcher.gone(target, device).then(async () => {
      await Promise.all(files.map(({ file }) => file.closed()));
      for (const { file } of files) file.remove();
    });
    const handOver: HandOver = {
      driver: 'erofs',
      device,
      ...(files.length > 0 && { negotiated: served.negotiated() }),
      files: files.map(({ index, file: { node, name } }) => ({ index, node, name })),
    };
    return {
      ended,
      handOver,
      async unmount({ detach = false } = {}) {
        unmount(target, { detach });
        await watcher.look();
      },
    };
  }

  return {
    async mount(image, blobs, where) {
      if (process.geteuid?.() !== 0) throw new RafterError('UNSUPPORTED', 'the driver erofs needs root');
      checkForKernel(treeOf(image).bootstrap);
      const files: OpenedFile[] = [];
      const bootstrap = join(tempDir, `${BOOTSTRAP_PREFIX}${process.pid}-${randomBytes(6).toString('hex')}`);
      try {
        const devices = await devicesOf(blobs, { ...where, files });
        await mkdir(tempDir, { recursive: true, mode: 0o700 });
        await writeBootstrap(bootstrap, image);
        await mountErofs({ bootstrap, devices, target: where.mountpoint });
      } catch (error) {
        for (const { file } of files) file.remove();
        throw error;
      } finally {
        // The kernel has it open.
        await rm(bootstrap, { force: true });
      }
      return watched(where.mountpoint, (await findMount(where.mountpoint))?.device ?? '', files);
    },

    resume(blobs, { mountpoint: target, handOver, readTimeout, trace: memory }) {
      const files = handOver.files.map(({ index, node, name }): OpenedFile => {
        const blob = blobs[index];
        if (blob === undefined) throw new RafterError('FAILED', `${target}: the image has no blob ${index}`);
        const trace = memory && { memory, blob: index };
        return { index, file: served.directory.add(name, blob, { open: node, readTimeout, trace }) };
      });
      const fromUs = new Set(handOver.files.map(({ index }) => index));
      for (const [index, blob] of blobs.entries()) if (!fromUs.has(index)) blob.noteLent();
      if (handOver.negotiated !== undefined) served.adopt(handOver.negotiated);
      return watched(target, handOver.device, files);
    },

    async resumed() {
      await removeLeftBootstraps(tempDir);
      await served.resume();
    },
    close: () => served.close(),
  };
}

const BOOTSTRAP_PREFIX = 'bootstrap-';

/** Removes what daemons left that were killed while they mounted. Only one daemon at a time uses the directory. */
async function removeLeftBootstraps(tempDir: string): Promise<void> {
  const names = await readdir(tempDir).catch(() => []);
  for (const name of names)
    if (name.startsWith(BOOTSTRAP_PREFIX)) await rm(join(tempDir, name), { force: true }).catch(() => {});
}

interface OpenedFile {
  /** Position in the blob table. */
  index: number;
  file: BlobFile;
}

async function writeBootstrap(path: string, image: NydusImage): Promise<void> {
  try {
    await writeFile(path, Buffer.from(treeOf(image).bytes), { mode: 0o600, flag: 'wx' });
  } catch (error) {
    throw explainFull(error, path);
  }
}
