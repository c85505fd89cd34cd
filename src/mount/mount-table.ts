import { isRafterError, RafterError } from '../errors.js';
import { unmountFuse } from '../fuse/unmount.js';
import { findMount } from '../os/mountinfo.js';
import type { MountInfo, MountRequest, MountResult } from './api.js';
import { canonicalMountPoint, checkMountPoint } from './mount-point.js';
import { isDriverType, writeMountState } from './mount-state.js';
import { type MountedImage, type MountServices, mountImage, resumeImage } from './mounted-image.js';
import type { SavedState } from './saved-mounts.js';

/** How long to wait for the last requests of a mount after it was unmounted, in milliseconds. */
const RELEASE_DEADLINE = 2_000;

/**
 * The mounts of one daemon. What is in the table is mounted; a mount that somebody else took away leaves it by itself.
 */
export class MountTable {
  readonly #services: MountServices;
  readonly #stateFile: string;
  readonly #mounts = new Map<string, MountedImage>();
  /** Mount points that a request is working on. */
  readonly #reserved = new Set<string>();
  /** Mounts that are gone from their place but still have open files. */
  readonly #leaving = new Set<MountedImage>();
  readonly #interrupted = new AbortController();
  #writing: Promise<void> = Promise.resolve();

  constructor(services: MountServices, stateFile: string) {
    this.#services = services;
    this.#stateFile = stateFile;
  }

  /**
   * Goes on with the mounts of another daemon. One that cannot be served any more is taken away, so that its readers get an
   * error instead of nothing; so is what was just being mounted.
   */
  async resume({ mounts, reserved }: SavedState): Promise<void> {
    const { drivers, log } = this.#services;
    await Promise.all(
      mounts.map(async (saved) => {
        const { id, mountpoint } = saved.info;
        try {
          if ((await findMount(mountpoint)) === undefined) return;
          const mounted = await resumeImage(saved, this.#services);
          this.#add(mounted);
          log.info('goes on', { id, mountpoint, driver: mounted.info.driver });
        } catch (error) {
          log.error('cannot go on with a mount', { id, mountpoint, error });
          await unmountFuse(mountpoint, { detach: true }).catch(() => {});
        }
      }),
    );
    for (const mountpoint of reserved)
      while (isDriverType((await findMount(mountpoint))?.type))
        await unmountFuse(mountpoint, { detach: true });
    await drivers.resumed();
    await this.#save();
  }

  /** Mounts, mounts that are being made, and mounts with files open after they were unmounted. */
  get busy(): number {
    return this.#mounts.size + this.#reserved.size + this.#leaving.size;
  }

  list(): MountInfo[] {
    return [...this.#mounts.values()].map(({ info }) => info);
  }

  /** Mounts an image. Throws BUSY for a mount point that is in use, and whatever `mountImage` throws. */
  async mount(request: MountRequest, signal?: AbortSignal): Promise<MountResult> {
    const mountpoint = await checkMountPoint(request.mountpoint);
    if (this.#reserved.has(mountpoint))
      throw new RafterError('BUSY', `another request is mounting at ${mountpoint}`);
    this.#reserved.add(mountpoint);
    this.#saveForSuccessor();
    try {
      const signals = signal === undefined ? [] : [signal];
      const either = AbortSignal.any([this.#interrupted.signal, ...signals]);
      const mounted = await mountImage(request, mountpoint, { services: this.#services, signal: either });
      const { info, image } = mounted;
      this.#add(mounted);
      this.#reserved.delete(mountpoint);
      await this.#save();
      this.#services.log.info('mounted', { ...info, stats: undefined });
      return { ...info, config: image.config.raw };
    } finally {
      this.#reserved.delete(mountpoint);
    }
  }

  /**
   * Unmounts by id or mount point; with `force` also while it is in use. Throws NOT_FOUND, or BUSY while files are open.
   */
  async unmount(
    which: { id: string } | { mountpoint: string },
    { force = false }: { force?: boolean } = {},
  ): Promise<MountInfo> {
    const mounted = await this.#find(which);
    const { info, active } = mounted;
    try {
      await active.unmount({ detach: force });
    } catch (error) {
      // FAILED: somebody else was quicker.
      if (!isRafterError(error, 'FAILED')) throw error;
    }
    this.#mounts.delete(info.id);
    this.#leaving.add(mounted);
    await this.#save();
    await withDeadline(mounted.released, RELEASE_DEADLINE);
    this.#services.log.info('unmounted', { id: info.id, mountpoint: info.mountpoint, ...info.stats });
    return info;
  }

  /** Ends the mount requests under way, and all that come, with INTERRUPTED. */
  interrupt(): void {
    this.#interrupted.abort();
  }

  /** Unmounts everything, what is in use too. What could not be unmounted is in the log. */
  async unmountAll(): Promise<void> {
    const unmountOne = async ({ id, mountpoint }: MountInfo) => {
      try {
        await this.unmount({ id }, { force: false });
      } catch (error) {
        if (!isRafterError(error, 'BUSY')) throw error;
        this.#services.log.warn('unmounting while in use', { id, mountpoint });
        await this.unmount({ id }, { force: true });
      }
    };
    const results = await Promise.allSettled(this.list().map(unmountOne));
    for (const result of results)
      if (result.status === 'rejected') this.#services.log.error('cannot unmount', { error: result.reason });
  }

  async #find(which: { id: string } | { mountpoint: string }): Promise<MountedImage> {
    if ('id' in which) {
      const mounted = this.#mounts.get(which.id);
      if (mounted === undefined) throw new RafterError('NOT_FOUND', `there is no mount ${which.id}`);
      return mounted;
    }
    const paths = [which.mountpoint, await canonicalMountPoint(which.mountpoint)];
    const found = [...this.#mounts.values()].findLast(({ info }) => paths.includes(info.mountpoint));
    if (found === undefined) throw new RafterError('NOT_FOUND', `no image is mounted at ${which.mountpoint}`);
    return found;
  }

  #add(mounted: MountedImage): void {
    this.#mounts.set(mounted.info.id, mounted);
    mounted.released.then(() => this.#forget(mounted));
  }

  async #forget(mounted: MountedImage): Promise<void> {
    const { id, mountpoint } = mounted.info;
    this.#leaving.delete(mounted);
    if (!this.#mounts.delete(id)) return;
    this.#services.log.info('unmounted by somebody else', { id, mountpoint, ...mounted.info.stats });
    await this.#save();
  }

  #saveForSuccessor(): void {
    const mounts = [...this.#mounts.values()].flatMap(({ info, request, image, active }) =>
      active.handOver === undefined
        ? []
        : [{ info, request, manifest: image.manifest, handOver: active.handOver }],
    );
    const state: SavedState = { mounts, reserved: [...this.#reserved] };
    this.#services.supervisor.save(state);
  }

  /** One write at a time: each writes what is true when it starts. */
  #save(): Promise<void> {
    this.#saveForSuccessor();
    this.#writing = this.#writing.then(async () => {
      const records = [...this.#mounts.values()].map(({ info, device }) => {
        const { id, reference, digest, mountpoint } = info;
        return { id, reference, digest, mountpoint, device };
      });
      try {
        await writeMountState(this.#stateFile, records);
      } catch (error) {
        this.#services.log.error('cannot write the list of mounts', { error });
      }
    });
    return this.#writing;
  }
}

async function withDeadline(work: Promise<void>, milliseconds: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const deadline = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, milliseconds);
  });
  await Promise.race([work, deadline]);
  clearTimeout(timer);
}
