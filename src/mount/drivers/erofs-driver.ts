import { randomBytes } from 'node:crypto';
import { readdir, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { BlobCache } from '../../cache/blob-cache.js';
import { isRafterError, messageOf, RafterError } from '../../errors.js';
import { cloneMount, type DetachedMount } from '../../os/detached-mount.js';
import { explainFull } from '../../os/disk-full.js';
import { isKernelAtLeast } from '../../os/kernel.js';
import { LOOP_BLOCK_SIZE } from '../../os/loop.js';
import { makeDirectories } from '../../os/make-directories.js';
import { unmountAside } from '../../os/mount.js';
import { mountErofs, NeedsBlockDevices } from '../../os/mount-erofs.js';
import { mountErofsOnLoops } from '../../os/mount-erofs-loop.js';
import { findMount } from '../../os/mountinfo.js';
import type { MountInfo, MountRequest } from '../api/api.js';
import { type NydusImage, treeOf } from '../image/nydus-image.js';
import type { ActiveMount, HandOver, KeptMount, Serving } from './active-mount.js';
import type { BlobFile } from './blob-directory.js';
import { type BlobServiceOptions, createBlobService } from './blob-service.js';
import { checkForKernel } from './kernel-check.js';
import type { MountWatcher } from './mount-watcher.js';
import type { TreeLooks } from './tree-look.js';

/**
 * The erofs driver: the kernel serves the tree, from the bootstrap itself. It reads blobs in decoded address space: one that
 * is complete on disk from the cache's own file, any other from a file of the one FUSE mount of the node, which this daemon
 * serves. Where reads are noted in a trace, all blobs are served: what the kernel reads by itself nobody sees. A kernel that takes no
 * files is given loop devices of them.
 */
export interface ErofsDriver {
  /** Throws UNSUPPORTED if the kernel or the image cannot do it; MALFORMED and others as every mount. */
  mount(
    image: NydusImage,
    blobs: readonly BlobCache[],
    where: Serving & ErofsRequest,
  ): Promise<{ active: ActiveMount; choice: Pick<MountInfo, 'driver' | 'backing' | 'driverReason'> }>;
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

type ErofsRequest = Pick<MountRequest, 'backing'> & { id: string; mountpoint: string };

export interface ErofsDriverOptions extends BlobServiceOptions {
  /** Directory that the FUSE mount for blobs is made in. */
  runDir: string;
  /** Directory for a bootstrap until the kernel has it open. */
  tempDir: string;
  watcher: MountWatcher;
  looks: Pick<TreeLooks, 'of'>;
}

export function createErofsDriver(options: ErofsDriverOptions): ErofsDriver {
  const { tempDir, watcher } = options;
  const mountpoint = join(options.runDir, 'blobs');
  const served = createBlobService(mountpoint, options);
  /** What the kernel says to files as the data root has them, if it does not take them. */
  let noFiles: NeedsBlockDevices | undefined;

  /** The files that the kernel is to read `blobs` from. Those that have to be served are added to `files`. */
  async function devicesOf(
    blobs: readonly BlobCache[],
    {
      id,
      files,
      backing,
      readTimeout,
      trace,
    }: Serving & { id: string; files: OpenedFile[]; backing: Backing },
  ): Promise<string[]> {
    const devices: string[] = [];
    for (const [index, blob] of blobs.entries()) {
      // The files that are served are whole blocks.
      const isWhole = backing === 'file' || blob.layout.decodedSize % LOOP_BLOCK_SIZE === 0;
      const local = trace === undefined && isWhole ? blob.lend() : undefined;
      if (local !== undefined) {
        devices.push(`/proc/self/fd/${local.fd}`);
        continue;
      }
      await served.start({ forLoops: backing === 'loop' || !isKernelAtLeast(6, 12) });
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
  function watched(target: string, mounted: Mounted): ActiveMount {
    const { device, files, canBeKept } = mounted;
    let keeping: Promise<KeptMount | undefined> | undefined;
    const closed = async () => {
      await Promise.all(files.map(({ file }) => file.closed()));
      for (const { file } of files) file.remove();
    };
    const ended = new Promise<void>((resolve) => {
      void watcher.gone(target, device).then(async () => {
        if ((await keeping) !== undefined) return;
        await closed();
        resolve();
      });
    });
    const handOver: HandOver = {
      driver: 'erofs',
      device,
      ...(files.length > 0 && { negotiated: served.negotiated() }),
      files: files.map(({ index, file: { node, name } }) => ({ index, node, name })),
    };
    const isThere = async () => (await findMount(target))?.device === device;
    return {
      ended,
      handOver,
      async unmount({ detach = false } = {}) {
        await untilUnmounted(unmountAside(target, { detach }), { isThere, files });
        await watcher.look();
      },
      ...(canBeKept && {
        keep: () => {
          keeping = keep();
          return keeping;
        },
      }),
    };

    async function keep(): Promise<KeptMount | undefined> {
      // The end of a file system waits for what is being read: it would keep this process, should it be killed, from ending.
      if (files.some(({ file }) => file.isBusy) || !(await isThere())) return undefined;
      let detached: DetachedMount | undefined;
      try {
        detached = cloneMount(target);
        await unmountAside(target);
      } catch {
        await detached?.close();
        return undefined;
      }
      return keptMount(detached, { closed, mounted });
    }
  }

  function keptMount(
    detached: DetachedMount,
    { closed, mounted }: { closed: () => Promise<void>; mounted: Mounted },
  ): KeptMount {
    let isKept = true;
    return {
      mountAt(target) {
        detached.attach(target);
        isKept = false;
        void detached.close();
        return watched(target, mounted);
      },
      async release() {
        if (!isKept) return;
        isKept = false;
        await untilUnmounted(detached.close(), { isThere: async () => false, files: mounted.files });
        await closed();
      },
    };
  }

  async function mountOn(
    backing: Backing,
    image: NydusImage,
    blobs: readonly BlobCache[],
    where: Serving & ErofsRequest,
  ): Promise<ActiveMount> {
    const target = where.mountpoint;
    const files: OpenedFile[] = [];
    const bootstrap = join(tempDir, `${BOOTSTRAP_PREFIX}${process.pid}-${randomBytes(6).toString('hex')}`);
    try {
      const devices = await devicesOf(blobs, { ...where, backing, files });
      await makeDirectories(tempDir, 0o700);
      await writeBootstrap(bootstrap, image);
      await (backing === 'file' ? mountErofs : mountErofsOnLoops)({ bootstrap, devices, target });
    } catch (error) {
      for (const { file } of files) file.remove();
      throw error;
    } finally {
      // The kernel has it open.
      await rm(bootstrap, { force: true });
    }
    return watched(target, {
      device: (await findMount(target))?.device ?? '',
      files,
      canBeKept: backing === 'file',
    });
  }

  return {
    async mount(image, blobs, where) {
      if (process.geteuid?.() !== 0) throw new RafterError('UNSUPPORTED', 'the driver erofs needs root');
      const { bootstrap } = treeOf(image);
      checkForKernel(bootstrap, await options.looks.of(bootstrap));
      const { backing: wanted = 'auto' } = where;
      const on = async (backing: Backing, driverReason?: string) => ({
        active: await mountOn(backing, image, blobs, where),
        choice: { driver: 'erofs' as const, backing, ...(driverReason !== undefined && { driverReason }) },
      });
      if (wanted !== 'auto') return on(wanted);
      try {
        if (noFiles === undefined) return await on('file');
      } catch (error) {
        if (!(error instanceof NeedsBlockDevices)) throw error;
        noFiles = error;
      }
      const { message, hint: filesHint } = noFiles;
      return on('loop', message).catch((error) => {
        if (!isRafterError(error, 'UNSUPPORTED', 'DENIED')) throw error;
        const hint = [filesHint, error.hint].filter((one) => one !== undefined).join('; or ');
        throw new RafterError(error.code, `${message}; ${messageOf(error)}`, { cause: error, hint });
      });
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
      return watched(target, { device: handOver.device, files, canBeKept: false });
    },

    async resumed() {
      await removeLeftBootstraps(tempDir);
      await served.resume();
    },
    close: () => served.close(),
  };
}

type Backing = NonNullable<MountInfo['backing']>;

/** How long to wait for an unmount before looking what it waits for, in milliseconds. */
const PATIENCE_MS = 100;

/**
 * Waits for `unmounting`. What the kernel has begun to read for a file system it wants to have before that ends, although nobody is
 * there any more who needs it: such reads are failed.
 */
async function untilUnmounted(
  unmounting: Promise<void>,
  { isThere, files }: { isThere: () => Promise<boolean>; files: OpenedFile[] },
): Promise<void> {
  const done = unmounting.then(() => true);
  // Seen twice: the first time the kernel may just have finished, and readers that are left go on.
  for (let isGone = false; !(await Promise.race([done, sleep(PATIENCE_MS, false)])); ) {
    if (isGone) for (const { file } of files) file.giveUp();
    isGone = !(await isThere());
  }
}

const BOOTSTRAP_PREFIX = 'bootstrap-';

/** Removes what daemons left that were killed while they mounted. Only one daemon at a time uses the directory. */
async function removeLeftBootstraps(tempDir: string): Promise<void> {
  const names = await readdir(tempDir).catch(() => []);
  for (const name of names)
    if (name.startsWith(BOOTSTRAP_PREFIX)) await rm(join(tempDir, name), { force: true }).catch(() => {});
}

/** What is mounted, wherever that is. */
interface Mounted {
  /** `major:minor` of the file system. */
  device: string;
  /** The blobs of it that are served. */
  files: OpenedFile[];
  /** Loop devices go with their mount; of a mount of another daemon it is not known what it stands on. */
  canBeKept: boolean;
}

interface OpenedFile {
  /** Position in the blob table. */
  index: number;
  file: BlobFile;
}

async function writeBootstrap(path: string, image: NydusImage): Promise<void> {
  try {
    const bytes = Buffer.from(treeOf(image).bytes);
    await writeFile(path, bytes, { mode: 0o600, flag: 'wx' });
    await truncate(path, Math.ceil(bytes.length / LOOP_BLOCK_SIZE) * LOOP_BLOCK_SIZE);
  } catch (error) {
    throw explainFull(error, path);
  }
}
