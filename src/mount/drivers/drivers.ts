import type { BlobCache } from '../../cache/blob-cache.js';
import { isRafterError, messageOf } from '../../errors.js';
import { DeviceServer } from '../../fuse/device-server.js';
import type { MountInfo, MountRequest } from '../api/api.js';
import type { DaemonLog } from '../daemon-log.js';
import { type NydusImage, treeOf } from '../image/nydus-image.js';
import type { Meters } from '../meters.js';
import type { SupervisorLink } from '../supervisor/supervisor-link.js';
import type { ActiveMount, HandOver, Serving } from './active-mount.js';
import { createErofsDriver } from './erofs-driver.js';
import { defaultTransport, mountWithFuse, resumeWithFuse } from './fuse-driver.js';
import { createMountWatcher } from './mount-watcher.js';
import { createTreeLooks } from './tree-look.js';

/** Which driver serves a mount, and how. */
type DriverChoice = Pick<MountInfo, 'driver' | 'transport' | 'backing' | 'driverReason'>;

/** The ways in which this daemon can mount an image. */
export interface Drivers {
  /** Starts what mounts need and need not wait for: the thread that reads the FUSE device. */
  prepare(): void;
  /** Begins with what can be done for the mount of an image before all else is ready for it: to look whether the kernel may have its tree. */
  lookAhead(image: NydusImage, request: Pick<MountRequest, 'driver' | 'transport'>): void;
  /**
   * Mounts `image`, whose blobs are read through `blobs`, with the driver that `request` names or, by default, the best that
   * works: `driverReason` says then why it is not a better one. Throws what the driver throws; nothing is mounted then.
   */
  mount(
    image: NydusImage,
    blobs: readonly BlobCache[],
    request: Pick<MountRequest, 'driver' | 'transport' | 'backing'> &
      Serving & { id: string; mountpoint: string },
  ): Promise<{ active: ActiveMount; choice: DriverChoice }>;
  /**
   * Goes on with a mount of another daemon. Its readers wait until `resumed`. Throws FAILED if that cannot be.
   */
  resume(
    image: NydusImage,
    blobs: readonly BlobCache[],
    left: Serving & { id: string; mountpoint: string; handOver: HandOver },
  ): ActiveMount;
  /** All mounts of the other daemon that can be are back: lets their readers go on. */
  resumed(): Promise<void>;
  /** The daemon rests: gives back memory that work has left. */
  rest(): void;
  /** Answers nothing any more: what readers are waiting for, the next daemon gives them. */
  handOver(): Promise<void>;
  /** Gives back what mounts share. Every image must be unmounted. */
  close(): Promise<void>;
}

export interface DriverOptions {
  runDir: string;
  /** For files of a moment. */
  tempDir: string;
  log: DaemonLog;
  supervisor: SupervisorLink;
  meters: Meters;
  /** Told if the thread that reads the FUSE device dies: its mounts are not served any more. */
  onFailed: (error: Error) => void;
}

export function createDrivers(options: DriverOptions): Drivers {
  const { log, supervisor, meters, onFailed } = options;
  let started: DeviceServer | undefined;
  const server = () => {
    started ??= new DeviceServer(new URL('./fuse-reader.js', import.meta.url), onFailed);
    return started;
  };
  const looks = createTreeLooks(server);
  const erofs = createErofsDriver({ ...options, server, looks, watcher: createMountWatcher() });
  const services = { server, log, supervisor, meters };

  /** Does what needs the thread and what a mount does itself, and says what is wrong with it, if it was not done before. */
  const early = (work: () => unknown) => {
    try {
      if (defaultTransport() === 'device') work();
    } catch {
      // The mount says it.
    }
  };

  const withFuse: Drivers['mount'] = async (image, blobs, request) => {
    const { transport = defaultTransport() } = request;
    const active = await mountWithFuse(image, blobs, { ...request, transport, services });
    return { active, choice: { driver: 'fuse', transport } };
  };

  return {
    prepare: () => early(server),

    lookAhead(image, { driver = 'auto', transport }) {
      if (driver !== 'fuse' && transport === undefined) early(() => looks.begin(treeOf(image)));
    },

    async mount(image, blobs, request) {
      const { driver = 'auto', transport } = request;
      // A transport is one of the fuse driver.
      if (driver === 'fuse' || (driver === 'auto' && transport !== undefined))
        return withFuse(image, blobs, request);
      try {
        return await erofs.mount(image, blobs, request);
      } catch (error) {
        if (driver === 'erofs' || !isRafterError(error, 'UNSUPPORTED', 'DENIED')) throw error;
        const mounted = await withFuse(image, blobs, request);
        return { ...mounted, choice: { ...mounted.choice, driverReason: messageOf(error) } };
      }
    },

    resume(image, blobs, { handOver, ...where }) {
      return handOver.driver === 'erofs'
        ? erofs.resume(blobs, { ...where, handOver })
        : resumeWithFuse(image, blobs, { ...where, handOver, services });
    },

    resumed: () => erofs.resumed(),

    rest: () => started?.collectGarbage(),

    async handOver() {
      await started?.close();
    },

    async close() {
      await erofs.close();
      await started?.close();
    },
  };
}
