import { randomBytes } from 'node:crypto';
import type { BlobCache } from '../cache/blob-cache.js';
import type { CacheStore } from '../cache/store.js';
import { RafterError } from '../errors.js';
import { findMount } from '../os/mountinfo.js';
import type { MountInfo, MountRequest } from './api/api.js';
import type { SavedMount } from './daemon/saved-mounts.js';
import type { DaemonLog } from './daemon-log.js';
import type { ActiveMount } from './drivers/active-mount.js';
import type { Drivers } from './drivers/drivers.js';
import type { ImageStore } from './image/image-store.js';
import { letGoOfTree, type NydusImage } from './image/nydus-image.js';
import type { OpenedImages } from './image/opened-images.js';
import { resolveReference } from './image/resolve-reference.js';
import type { KeptImage, KeptImages } from './kept-images.js';
import type { Meters } from './meters.js';
import { mountTree, resumeTree } from './mount-tree.js';
import { acquireBlobs, type MountUndo, openImage } from './open-mount.js';
import { type Completion, startCompletion } from './startup/completion.js';
import { attachStartup } from './startup/mount-startup.js';
import { limitStartupReadAhead } from './startup/startup-read-ahead.js';
import { type Step, StepClock } from './steps.js';
import type { SupervisorLink } from './supervisor/supervisor-link.js';
import { MountTrace } from './trace/mount-trace.js';
import { checkTraceFile } from './trace/trace-file.js';
import { noStats } from './traffic.js';
import { Undo } from './undo.js';
import type { WritableTrees } from './writable-trees.js';

/** What all mounts of a daemon share. */
export interface MountServices {
  store: ImageStore;
  /** Images that were mounted lately. */
  opened: OpenedImages;
  /** Images that are not mounted any more, but may be in a moment. */
  kept: KeptImages;
  cache: CacheStore;
  /** For files of a moment. */
  tempDir: string;
  drivers: Drivers;
  supervisor: SupervisorLink;
  log: DaemonLog;
  meters: Meters;
  writable: WritableTrees;
  /** Directory for traces of mounts that are there. */
  traceDir: string;
}

/** An image that is mounted. */
export interface MountedImage {
  readonly info: MountInfo;
  readonly image: NydusImage;
  /** What was asked for, credentials included. */
  readonly request: MountRequest;
  /** `major:minor` of the mount. */
  readonly device: string;
  readonly active: ActiveMount;
  /** Its blobs, in blob table order. */
  readonly blobs: readonly BlobCache[];
  /** What fetches the rest of them in the background, if it was asked for. */
  readonly completion: Completion | undefined;
  /** What is read, if that was asked for. */
  readonly trace?: MountTrace | undefined;
  /** How long mounting took, and what of it. */
  readonly steps: Step[];
  /** Settles when the mount is gone, whoever unmounted it, and caches and connections are given back; never if it is kept. */
  readonly released: Promise<void>;
  /** Unmounts the image and keeps it for the next request of the same kind. Undefined, and nothing done, if it cannot be. */
  keep(): Promise<KeptImage | undefined>;
}

type Made = Omit<MountedImage, 'request' | 'device' | 'released' | 'keep'> &
  Pick<KeptImage, 'source' | 'startup'>;

/** What is done for a mount. */
interface Use {
  request: MountRequest;
  mountpoint: string;
  services: MountServices;
  undo: MountUndo;
}

/**
 * Opens the image that `request` names and mounts it at `mountpoint`, a canonical path that nothing is mounted at. What
 * fails on the way is undone before the error is thrown: no mount, no open file, no connection stays.
 */
export async function mountImage(
  request: MountRequest,
  mountpoint: string,
  use: { services: MountServices; signal?: AbortSignal },
): Promise<MountedImage> {
  const kept = request.reuse ? use.services.kept.take(request) : undefined;
  const again = kept && (await mountKept(kept, { ...use, request, mountpoint }));
  return again ?? mountAnew(request, mountpoint, use);
}

function mountAnew(
  request: MountRequest,
  mountpoint: string,
  { services, signal }: { services: MountServices; signal?: AbortSignal },
): Promise<MountedImage> {
  const startedAt = Date.now();
  const clock = new StepClock();
  const undo = { place: new Undo(), image: new Undo() };
  const use = { request, mountpoint, services, undo };
  return withUndo(use, signal, async () => {
    if (request.trace?.file !== undefined) await checkTraceFile(request.trace.file);
    const stats = noStats();
    const opening = openImage(request, { services, undo, stats, clock, signal });
    // While the registry is asked.
    setImmediate(() => services.drivers.prepare());
    const { source, name, image, startup } = await opening;
    services.drivers.lookAhead(image, request);
    const info = describe(image, { reference: name, mountpoint, stats });
    const { traceDir, log } = services;
    const trace = request.trace && new MountTrace({ image, request, traceDir, log }, startedAt);
    undo.place.push(() => trace?.finish());
    const blobs = await clock.time('open the cache', () => acquireBlobs(image, { ...use, source, info }));
    const attached = await clock.time('table of the start-up pack', () =>
      attachStartup({ image, blobs, ...startup }, use),
    );
    signal?.throwIfAborted();
    const active = await clock.time('mount', () =>
      mountTree({ image, blobs, info, request, trace: trace?.memory }, services),
    );
    startup.pack?.hurry();
    const ahead = await limitStartupReadAhead({ ...attached, blobs, request, mountpoint });
    undo.place.push(() => ahead.stop());
    letGoLater(image, info, undo);
    trace?.begin(info);
    const completion = complete(blobs, use);
    return { source, image, active, blobs, completion, trace, info, startup: attached, steps: clock.steps };
  });
}

/** Mounts what was kept, if the reference still means that; else gives it up and returns undefined. */
async function mountKept(
  kept: KeptImage,
  {
    request,
    mountpoint,
    services,
    signal,
  }: { request: MountRequest; mountpoint: string; services: MountServices; signal?: AbortSignal },
): Promise<MountedImage | undefined> {
  const { source, image, blobs, startup, device, mount } = kept;
  const clock = new StepClock();
  const warnings: string[] = [];
  const onWarning = (text: string) => warnings.push(text);
  const reference = kept.info.reference;
  const ask = { source, store: services.store, reference, last: image.top, signal, onWarning };
  const isMeant = await clock
    .time('resolve the reference', () => resolveReference(ask))
    .then(async ({ descriptor, noted }) => {
      await noted;
      return descriptor.digest === image.top.digest;
    })
    // What is wrong is found again, and said, by who mounts the image anew.
    .catch(() => false);
  if (!isMeant) {
    await services.kept.giveUp(kept);
    return undefined;
  }
  const undo = { place: new Undo(), image: kept.undo };
  const use = { request, mountpoint, services, undo };
  // Nothing when it is mounted.
  undo.place.push(() => mount.release());
  return withUndo(use, signal, async () => {
    signal?.throwIfAborted();
    Object.assign(kept.info.stats, noStats());
    const own = { id: newId(), mountpoint, mountedAt: new Date().toISOString(), metadataBytes: 0, warnings };
    const info = { ...kept.info, ...own };
    const active = await clock.time('mount', () => mount.mountAt(mountpoint));
    const ahead = await limitStartupReadAhead({ ...startup, blobs, request, mountpoint });
    undo.place.push(() => ahead.stop());
    const completion = complete(blobs, use);
    return { source, image, active, blobs, completion, info, startup, device, steps: clock.steps };
  });
}

/**
 * Goes on with a mount that another daemon has left. Everything that is needed is on this machine, so no registry is asked.
 * Its readers wait until `Drivers.resumed`.
 */
export async function resumeImage(
  { info, request, manifest, handOver, device, leaving }: SavedMount,
  services: MountServices,
): Promise<MountedImage> {
  const { mountpoint } = info;
  const undo = { place: new Undo(), image: new Undo() };
  const around = { request, mountpoint, services, undo };
  return withUndo(around, undefined, async () => {
    // Another version may have counted less.
    info.stats = { ...noStats(), ...info.stats };
    const use = { services, undo, stats: info.stats, known: manifest };
    const { source, image, startup } = await openImage(request, use);
    // The trace of one that was unmounted is finished.
    const isTraced = request.trace !== undefined && !leaving;
    const { traceDir, log } = services;
    const trace = isTraced ? await MountTrace.resume({ image, request, traceDir, log }, info) : undefined;
    undo.place.push(() => trace?.finish());
    const blobs = await acquireBlobs(image, { ...around, source, info });
    const attached = await attachStartup({ image, blobs, ...startup }, around);
    const opened = { image, blobs, info, request, trace: trace?.memory };
    startup.pack?.hurry();
    const active = await resumeTree(opened, services, { handOver, device });
    // Nobody may ask the file system for anything before `Drivers.resumed`.
    const ahead = limitStartupReadAhead({ ...attached, blobs, request, mountpoint });
    undo.place.push(async () => (await ahead).stop());
    letGoLater(image, info, undo);
    const completion = complete(blobs, around);
    // Something else than `device` may be on top of it by now.
    return { source, image, info, blobs, completion, trace, active, startup: attached, device, steps: [] };
  });
}

/** Runs `work`; what it adds to `undo` is undone, last first, when it fails or when the mount that it made has ended. */
async function withUndo(
  { request, mountpoint, services, undo }: Use,
  signal: AbortSignal | undefined,
  work: () => Promise<Made & { device?: string }>,
): Promise<MountedImage> {
  const onError = (error: unknown) =>
    services.log.error('cannot give back what a mount used', { mountpoint, error });
  const release = async () => {
    await undo.place.run(onError);
    await undo.image.run(onError);
  };
  try {
    const { source, startup, ...made } = await work();
    const { active, image, info, trace } = made;
    const released = active.ended.then(release);
    const device = made.device ?? (await findMount(mountpoint))?.device ?? '';
    const keep = async (): Promise<KeptImage | undefined> => {
      // Who mounts it again hears of no warning, records nothing, and finds fetched what is to be fetched ahead.
      const isWorthIt = request.reuse && trace === undefined && info.warnings.length === 0;
      const mount = isWorthIt && !startup.isFetching() ? await active.keep?.() : undefined;
      if (mount === undefined) return undefined;
      await undo.place.run(onError);
      letGoOfTree(image);
      return { request, info, device, source, image, blobs: made.blobs, startup, mount, undo: undo.image };
    };
    return { ...made, request, device, released, keep };
  } catch (error) {
    await release();
    throw signal?.aborted
      ? new RafterError('INTERRUPTED', `mounting ${request.reference}: interrupted`)
      : error;
  }
}

function describe(
  image: NydusImage,
  where: Pick<MountInfo, 'reference' | 'mountpoint' | 'stats'>,
): MountInfo {
  return {
    id: newId(),
    ...where,
    digest: image.manifest.digest,
    driver: 'fuse',
    mountedAt: new Date().toISOString(),
    imageSize: image.imageSize,
    metadataBytes: image.metadataBytes,
    warnings: image.warnings,
  };
}

function newId(): string {
  return randomBytes(6).toString('hex');
}

/** When a mount by the erofs driver no longer keeps the tree, which the kernel has, in milliseconds: not while a container starts. */
const LET_GO_AFTER_MS = 5000;

function letGoLater(image: NydusImage, { driver }: MountInfo, undo: MountUndo): void {
  if (driver !== 'erofs') return;
  const timer = setTimeout(() => letGoOfTree(image), LET_GO_AFTER_MS).unref();
  undo.place.push(() => clearTimeout(timer));
}

/** Begins to complete the blobs of a mount, if that was asked for. Ends before they are given back. */
function complete(
  blobs: readonly BlobCache[],
  { request, mountpoint, services, undo }: Use,
): Completion | undefined {
  const completion = startCompletion(blobs, { request, mountpoint, log: services.log });
  undo.place.push(() => completion?.stop());
  return completion;
}
