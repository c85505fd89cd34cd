import { closeSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { isRafterError, RafterError } from '../../errors.js';
import { unmountFuse } from '../../fuse/unmount.js';
import { findMount, readMounts } from '../../os/mountinfo.js';
import type { Trace } from '../../trace/trace.js';
import type { MountInfo, MountRequest, MountResult } from '../api/api.js';
import { descriptorName } from '../drivers/fuse-driver.js';
import { RELEASE_DEADLINE } from '../kept-images.js';
import { canonicalMountPoint, checkMountPoint, notMounted } from '../mount-point.js';
import { isDriverType, writeMountState } from '../mount-state.js';
import { type MountedImage, type MountServices, mountImage, resumeImage } from '../mounted-image.js';
import { removeOtherJournals } from '../trace/trace-journal.js';
import { describeMount, resultOf, savedMounts } from './mount-views.js';
import type { SavedMount, SavedState } from './saved-mounts.js';

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
  #resuming = false;
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
    const { drivers, writable } = this.#services;
    // Until all of them are here, what the other daemon saved is the truth.
    this.#resuming = true;
    const lost = (await Promise.all(mounts.map((saved) => this.#resumeOne(saved)))).flat();
    await drivers.resumed();
    // Not before: the kernel may first want to have what it is just reading of them.
    for (const mountpoint of lost)
      await unmountFuse(mountpoint, { detach: true, aside: true }).catch(() => {});
    for (const mountpoint of reserved)
      while (isDriverType((await findMount(mountpoint))?.type))
        await unmountFuse(mountpoint, { detach: true, aside: true });
    await writable.cleanUp(new Set(this.#all().map(({ info }) => info.id)));
    this.#dropUnclaimed();
    await removeOtherJournals(this.#services.traceDir, new Set(this.#mounts.keys()));
    this.#resuming = false;
    await this.#save();
  }

  /** Returns where it is, if it cannot go on. */
  async #resumeOne(saved: SavedMount): Promise<string[]> {
    const { log } = this.#services;
    const { id, mountpoint } = saved.info;
    const isThere = !saved.leaving && (await isMounted(mountpoint, saved.device));
    try {
      const mounted = await resumeImage(saved, this.#services);
      // One that was unmounted meanwhile may have open files, too.
      if (isThere) this.#add(mounted);
      else this.#addLeaving(mounted);
      log.info('goes on', { id, mountpoint, driver: mounted.info.driver });
      return [];
    } catch (error) {
      log.error('cannot go on with a mount', { id, mountpoint, error });
      return isThere ? [mountpoint] : [];
    }
  }

  /** Closes descriptors that were left for mounts that are gone: as long as one is open, readers wait for an answer. */
  #dropUnclaimed(): void {
    const { supervisor } = this.#services;
    const alive = this.#all().map(({ info }) => descriptorName(info.id));
    for (const [name, fd] of Object.entries(supervisor.inheritance.descriptors)) {
      if (!name.startsWith(descriptorName('')) || alive.includes(name)) continue;
      supervisor.drop(name);
      closeSync(fd);
    }
  }

  #all(): MountedImage[] {
    return [...this.#mounts.values(), ...this.#leaving];
  }

  /** Mounts, mounts that are being made, and mounts with files open after they were unmounted. */
  get busy(): number {
    return this.#mounts.size + this.#reserved.size + this.#leaving.size;
  }

  list(): MountInfo[] {
    return [...this.#mounts.values()].map(({ info }) => info);
  }

  /** As `list`, with how much of the data is here. */
  describe(): MountInfo[] {
    return [...this.#mounts.values()].map(describeMount);
  }

  /**
   * Mounts an image. A request whose id is that of a mount has been carried out already. Throws BUSY for a mount point that is
   * in use, and whatever `mountImage` throws.
   */
  async mount(request: MountRequest, signal?: AbortSignal): Promise<MountResult> {
    const done = this.#findRequest(request);
    if (done !== undefined) return done;
    const mountpoint = await checkMountPoint(request.mountpoint);
    if (this.#reserved.has(mountpoint))
      throw new RafterError('BUSY', `another request is mounting at ${mountpoint}`);
    this.#reserved.add(mountpoint);
    try {
      // A successor must know what to take away, should this process die in the middle.
      await this.#saveForSuccessor();
      const signals = signal === undefined ? [] : [signal];
      const either = AbortSignal.any([this.#interrupted.signal, ...signals]);
      const mounted = await mountImage(request, mountpoint, { services: this.#services, signal: either });
      this.#add(mounted);
      this.#reserved.delete(mountpoint);
      await this.#save();
      this.#services.log.info('mounted', { ...mounted.info, stats: undefined });
      if (signal?.aborted) await this.#takeBack(mounted);
      return resultOf(mounted);
    } catch (error) {
      this.#reserved.delete(mountpoint);
      await this.#saveForSuccessor();
      throw error;
    }
  }

  /** Nobody is there any more who was to hear of the mount. */
  async #takeBack({ info: { id, mountpoint } }: MountedImage): Promise<never> {
    await this.unmount({ id }, { force: true });
    throw new RafterError('INTERRUPTED', `mounting at ${mountpoint}: interrupted`);
  }

  #findRequest({ requestId }: MountRequest): MountResult | undefined {
    if (requestId === undefined) return undefined;
    const found = [...this.#mounts.values()].find(({ request }) => request.requestId === requestId);
    return found && resultOf(found);
  }

  /** What was read of mount `id` until now. Throws NOT_FOUND if there is no such mount, or if it records nothing. */
  async trace(id: string): Promise<Trace> {
    const { trace, info } = await this.#find({ id });
    if (trace === undefined)
      throw new RafterError('NOT_FOUND', `${info.mountpoint} is not traced`, {
        hint: 'mount it with --trace FILE',
      });
    return trace.current();
  }

  /**
   * Unmounts by id or mount point; with `force` also while it is in use. An image that will be wanted again is kept for a while, unless
   * `forGood`. Throws NOT_FOUND, or BUSY while files are open.
   */
  async unmount(
    which: { id: string } | { mountpoint: string },
    { force = false, forGood = false }: { force?: boolean; forGood?: boolean } = {},
  ): Promise<MountInfo> {
    const mounted = await this.#find(which);
    const { info, active, trace } = mounted;
    if (!forGood && (await this.#keep(mounted))) return info;
    try {
      await active.unmount({ detach: force });
    } catch (error) {
      // FAILED: somebody else was quicker.
      if (!isRafterError(error, 'FAILED')) throw error;
    }
    this.#addLeaving(mounted);
    // Not later, when the last open file is closed: whoever unmounts wants to see what there is.
    await trace?.finish();
    await this.#save();
    await Promise.race([mounted.released, sleep(RELEASE_DEADLINE, undefined, { ref: false })]);
    this.#services.log.info('unmounted', { id: info.id, mountpoint: info.mountpoint, ...info.stats });
    return info;
  }

  /** Unmounts an image that is worth being kept, and keeps it. False, and nothing done, for any other. */
  async #keep(mounted: MountedImage): Promise<boolean> {
    const { id, mountpoint, stats } = mounted.info;
    if (this.#interrupted.signal.aborted) return false;
    // Meanwhile nobody else may unmount it, and a successor must know it.
    this.#mounts.delete(id);
    this.#leaving.add(mounted);
    const kept = await mounted.keep();
    this.#leaving.delete(mounted);
    if (kept === undefined) {
      this.#mounts.set(id, mounted);
      return false;
    }
    this.#services.kept.add(kept);
    await this.#save();
    this.#services.log.info('unmounted, and kept for a while', { id, mountpoint, ...stats });
    return true;
  }

  /** Ends the mount requests under way, and all that come, with INTERRUPTED. From here on nothing is kept. */
  interrupt(): void {
    this.#interrupted.abort();
  }

  /** Unmounts everything, what is in use too, and keeps nothing. What could not be unmounted is in the log. */
  async unmountAll(): Promise<void> {
    const unmountOne = async ({ id, mountpoint }: MountInfo) => {
      try {
        await this.unmount({ id }, { forGood: true });
      } catch (error) {
        if (!isRafterError(error, 'BUSY')) throw error;
        this.#services.log.warn('unmounting while in use', { id, mountpoint });
        await this.unmount({ id }, { force: true, forGood: true });
      }
    };
    const results = await Promise.allSettled(this.list().map(unmountOne));
    for (const result of results)
      if (result.status === 'rejected') this.#services.log.error('cannot unmount', { error: result.reason });
    await this.#services.kept.clear();
  }

  /** Tells the supervisor for the last time what a successor must know. From here on nothing of it changes. */
  async handOver(): Promise<void> {
    this.#resuming = true;
    await Promise.all([...this.#mounts.values()].map(({ trace }) => trace?.save()));
    await this.#saveForSuccessor();
    await this.#writing;
  }

  async #find(which: { id: string } | { mountpoint: string }): Promise<MountedImage> {
    if ('id' in which) {
      const mounted = this.#mounts.get(which.id);
      if (mounted === undefined) throw new RafterError('NOT_FOUND', `there is no mount ${which.id}`);
      return mounted;
    }
    const paths = [which.mountpoint, await canonicalMountPoint(which.mountpoint)];
    const found = [...this.#mounts.values()].findLast(({ info }) => paths.includes(info.mountpoint));
    if (found === undefined) throw notMounted(which.mountpoint);
    return found;
  }

  #add(mounted: MountedImage): void {
    this.#mounts.set(mounted.info.id, mounted);
    mounted.released.then(() => this.#forget(mounted));
  }

  #addLeaving(mounted: MountedImage): void {
    this.#mounts.delete(mounted.info.id);
    this.#leaving.add(mounted);
    mounted.released.then(() => this.#forget(mounted));
  }

  async #forget(mounted: MountedImage): Promise<void> {
    const { id, mountpoint, stats } = mounted.info;
    this.#leaving.delete(mounted);
    if (this.#mounts.delete(id))
      this.#services.log.info('unmounted by somebody else', { id, mountpoint, ...stats });
    if (!this.#resuming) await this.#save();
  }

  /** Mounts that end with this process, because nothing keeps them. */
  get unkept(): MountInfo[] {
    return [...this.#mounts.values()]
      .filter(({ active }) => active.handOver === undefined)
      .map(({ info }) => info);
  }

  #saveForSuccessor(): Promise<void> {
    const here = [...this.#mounts.values()].flatMap((mounted) => savedMounts(mounted, false));
    const leaving = [...this.#leaving].flatMap((mounted) => savedMounts(mounted, true));
    return this.#services.supervisor.save({ mounts: [...here, ...leaving], reserved: [...this.#reserved] });
  }

  /** One write at a time: each writes what is true when it starts. */
  #save(): Promise<void> {
    const saved = this.#saveForSuccessor();
    this.#writing = this.#writing.then(async () => {
      await saved;
      const records = [...this.#mounts.values()].map(({ info, device }) => {
        const { id, reference, digest, mountpoint } = info;
        return { id, reference, digest, mountpoint, device };
      });
      try {
        writeMountState(this.#stateFile, records);
      } catch (error) {
        this.#services.log.error('cannot write the list of mounts', { error });
      }
    });
    return this.#writing;
  }
}

async function isMounted(mountpoint: string, device: string): Promise<boolean> {
  return (await readMounts()).some((entry) => entry.mountPoint === mountpoint && entry.device === device);
}
