import { randomBytes } from 'node:crypto';
import type { BlobCache } from '../cache/blob-cache.js';
import type { CacheStore } from '../cache/store.js';
import { RafterError } from '../errors.js';
import type { Descriptor } from '../image/descriptor.js';
import { formatReference, parseReference } from '../image/reference.js';
import type { ImageSource } from '../image/source.js';
import type { StartupLayer } from '../image/startup-layer.js';
import { findMount } from '../os/mountinfo.js';
import { PATIENT_RETRY } from '../registry/retry.js';
import { openSource } from '../transports/open.js';
import type { MountInfo, MountRequest, MountStats } from './api/api.js';
import { blobBytesOf } from './blob-bytes.js';
import type { SavedMount } from './daemon/saved-mounts.js';
import type { DaemonLog } from './daemon-log.js';
import type { ActiveMount } from './drivers/active-mount.js';
import type { Drivers } from './drivers/drivers.js';
import type { ImageStore } from './image/image-store.js';
import { letGoOfTree, type NydusImage, openNydusImage } from './image/nydus-image.js';
import type { OpenedImages } from './image/opened-images.js';
import type { Meters } from './meters.js';
import { mountTree, resumeTree } from './mount-tree.js';
import { type Completion, startCompletion } from './startup/completion.js';
import { attachStartup, openStartupHint, openStartupPack } from './startup/mount-startup.js';
import type { StartupHint } from './startup/startup-hint.js';
import type { StartupPack } from './startup/startup-pack.js';
import { limitStartupReadAhead } from './startup/startup-read-ahead.js';
import { type Step, StepClock } from './steps.js';
import type { SupervisorLink } from './supervisor/supervisor-link.js';
import { MountTrace } from './trace/mount-trace.js';
import { checkTraceFile } from './trace/trace-file.js';
import { noStats, noteTraffic } from './traffic.js';
import type { WritableTrees } from './writable-trees.js';

/** What all mounts of a daemon share. */
export interface MountServices {
  store: ImageStore;
  /** Images that were mounted lately. */
  opened: OpenedImages;
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
  /** Settles when the mount is gone, whoever unmounted it, and caches and connections are given back. */
  readonly released: Promise<void>;
}

/**
 * Opens the image that `request` names and mounts it at `mountpoint`, a canonical path that nothing is mounted at. What
 * fails on the way is undone before the error is thrown: no mount, no open file, no connection stays.
 */
export function mountImage(
  request: MountRequest,
  mountpoint: string,
  { services, signal }: { services: MountServices; signal?: AbortSignal },
): Promise<MountedImage> {
  const startedAt = Date.now();
  const clock = new StepClock();
  return withUndo(services, { request, mountpoint, signal }, async (undo) => {
    if (request.trace?.file !== undefined) await checkTraceFile(request.trace.file);
    const stats = noStats();
    const opening = openImage(request, { services, undo, stats, clock, signal });
    // While the registry is asked.
    setImmediate(() => services.drivers.prepare());
    const { source, name, image, startup } = await opening;
    const info = describe(image, { reference: name, mountpoint, stats });
    const { traceDir, log } = services;
    const trace = request.trace && new MountTrace({ image, request, traceDir, log }, startedAt);
    undo.push(() => trace?.finish());
    const blobs = await clock.time('open the cache', () =>
      acquireBlobs(image, { source, info, request, services, undo }),
    );
    const isAttached = await clock.time('table of the start-up pack', () =>
      attachStartup({ image, blobs, ...startup }, { request, mountpoint, services, undo }),
    );
    signal?.throwIfAborted();
    const active = await clock.time('mount', () =>
      mountTree({ image, blobs, info, request, trace: trace?.memory }, services),
    );
    startup.pack?.hurry();
    const ahead = await limitStartupReadAhead({ pack: startup.pack, isAttached, blobs, request, mountpoint });
    undo.push(() => ahead.stop());
    letGoLater(image, info, undo);
    trace?.begin(info);
    const completion = complete(blobs, { request, mountpoint, services, undo });
    return { image, active, blobs, completion, trace, info, steps: clock.steps };
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
  const resumed = await withUndo(services, { request, mountpoint }, async (undo) => {
    // Another version may have counted less.
    info.stats = { ...noStats(), ...info.stats };
    const use = { services, undo, stats: info.stats, known: manifest };
    const { source, image, startup } = await openImage(request, use);
    // The trace of one that was unmounted is finished.
    const isTraced = request.trace !== undefined && !leaving;
    const { traceDir, log } = services;
    const trace = isTraced ? await MountTrace.resume({ image, request, traceDir, log }, info) : undefined;
    undo.push(() => trace?.finish());
    const blobs = await acquireBlobs(image, { source, info, request, services, undo });
    const isAttached = await attachStartup(
      { image, blobs, ...startup },
      { request, mountpoint, services, undo },
    );
    const opened = { image, blobs, info, request, trace: trace?.memory };
    startup.pack?.hurry();
    const active = await resumeTree(opened, services, { handOver, device });
    // Nobody may ask the file system for anything before `Drivers.resumed`.
    const ahead = limitStartupReadAhead({ pack: startup.pack, isAttached, blobs, request, mountpoint });
    undo.push(async () => (await ahead).stop());
    letGoLater(image, info, undo);
    const completion = complete(blobs, { request, mountpoint, services, undo });
    return { image, info, blobs, completion, trace, active, steps: [] };
  });
  // Something else may be on top of it by now.
  return { ...resumed, device };
}

type Undo = (() => unknown)[];

/** Runs `work`; what it adds to `undo` is undone, last first, when it fails or when the mount that it made has ended. */
async function withUndo(
  services: MountServices,
  {
    request,
    mountpoint,
    signal,
  }: { request: MountRequest; mountpoint: string; signal?: AbortSignal | undefined },
  work: (undo: Undo) => Promise<Omit<MountedImage, 'request' | 'device' | 'released'>>,
): Promise<MountedImage> {
  const undo: Undo = [];
  const release = async () => {
    for (const step of undo.splice(0).reverse()) {
      try {
        await step();
      } catch (error) {
        services.log.error('cannot give back what a mount used', { mountpoint, error });
      }
    }
  };
  try {
    const made = await work(undo);
    const released = made.active.ended.then(release);
    const device = (await findMount(mountpoint))?.device ?? '';
    return { ...made, request, device, released };
  } catch (error) {
    await release();
    throw signal?.aborted
      ? new RafterError('INTERRUPTED', `mounting ${request.reference}: interrupted`)
      : error;
  }
}

/** What the mount's start is made faster with. */
interface Startup {
  pack: StartupPack | undefined;
  hint: StartupHint | undefined;
}

async function openImage(
  request: MountRequest,
  use: {
    services: MountServices;
    undo: Undo;
    stats: MountStats;
    known?: Descriptor;
    clock?: StepClock;
    signal?: AbortSignal | undefined;
  },
): Promise<{ source: ImageSource; name: string; image: NydusImage; startup: Startup }> {
  const { services, undo, stats, known, clock: steps, signal } = use;
  const reference = parseReference(request.reference);
  const name = formatReference(reference);
  const onTraffic = noteTraffic(stats, services);
  const source = openSource(reference, { ...request.access, retry: PATIENT_RETRY, onTraffic });
  undo.push(() => source.close());
  const { store, opened } = services;
  const { platform } = request;
  const startup: Startup = { pack: undefined, hint: undefined };
  const onStartupLayer = (layer: StartupLayer) => {
    const started = openStartupPack(layer, { services, source, stats, mayFetch: known === undefined });
    undo.push(() => started.close());
    startup.pack = started;
  };
  const onFirstOpen = (manifest: Descriptor) => {
    if (request.prefetch === false || known !== undefined) return;
    const hint = openStartupHint(manifest, { services, source });
    undo.push(() => hint.stop());
    startup.hint = hint;
  };
  const hooks = { onStartupLayer, onFirstOpen };
  const options = { source, store, opened, reference: name, platform, known, ...hooks, steps, signal };
  return { source, name, image: await openNydusImage(options), startup };
}

function describe(
  image: NydusImage,
  where: Pick<MountInfo, 'reference' | 'mountpoint' | 'stats'>,
): MountInfo {
  return {
    id: randomBytes(6).toString('hex'),
    ...where,
    digest: image.manifest.digest,
    driver: 'fuse',
    mountedAt: new Date().toISOString(),
    imageSize: image.imageSize,
    metadataBytes: image.metadataBytes,
    warnings: image.warnings,
  };
}

/** When a mount by the erofs driver no longer keeps the tree, which the kernel has, in milliseconds: not while a container starts. */
const LET_GO_AFTER_MS = 5000;

function letGoLater(image: NydusImage, { driver }: MountInfo, undo: Undo): void {
  if (driver !== 'erofs') return;
  const timer = setTimeout(() => letGoOfTree(image), LET_GO_AFTER_MS).unref();
  undo.push(() => clearTimeout(timer));
}

/** Begins to complete the blobs of a mount, if that was asked for. Ends before they are given back. */
function complete(
  blobs: readonly BlobCache[],
  {
    request,
    mountpoint,
    services,
    undo,
  }: { request: MountRequest; mountpoint: string; services: MountServices; undo: Undo },
): Completion | undefined {
  const completion = startCompletion(blobs, { request, mountpoint, log: services.log });
  undo.push(() => completion?.stop());
  return completion;
}

/** The caches of an image's blobs, in blob table order. */
async function acquireBlobs(
  image: NydusImage,
  use: {
    source: ImageSource;
    info: MountInfo;
    request: MountRequest;
    services: MountServices;
    undo: Undo;
  },
): Promise<BlobCache[]> {
  const { cache, meters } = use.services;
  const { stats } = use.info;
  const { readTimeout } = use.request;
  const acquired = await Promise.allSettled(
    image.blobs.map(async ({ descriptor, layout }) => {
      const bytes = blobBytesOf(use.source, descriptor, { stats, meters, readTimeout });
      const blob = await cache.acquire(layout, bytes);
      use.undo.push(() => cache.release(blob));
      return blob;
    }),
  );
  return acquired.map((one) => {
    if (one.status === 'rejected') throw one.reason;
    return one.value;
  });
}
