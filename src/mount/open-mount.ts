import type { BlobCache } from '../cache/blob-cache.js';
import type { Descriptor } from '../image/descriptor.js';
import { formatReference, parseReference } from '../image/reference.js';
import type { ImageSource } from '../image/source.js';
import type { StartupLayer } from '../image/startup-layer.js';
import { PATIENT_RETRY } from '../registry/retry.js';
import { openSource } from '../transports/open.js';
import type { MountInfo, MountRequest, MountStats } from './api/api.js';
import { blobBytesOf } from './blob-bytes.js';
import { type NydusImage, openNydusImage } from './image/nydus-image.js';
import type { MountServices } from './mounted-image.js';
import { openStartupHint, openStartupPack } from './startup/mount-startup.js';
import type { StartupHint } from './startup/startup-hint.js';
import type { StartupPack } from './startup/startup-pack.js';
import type { StepClock } from './steps.js';
import { noteTraffic } from './traffic.js';
import type { Undo } from './undo.js';

/** What a mount gives back at its end: what belongs to its place first, then what belongs to its file system, which may be kept. */
export interface MountUndo {
  place: Undo;
  image: Undo;
}

/** What the mount's start is made faster with. */
export interface Startup {
  pack: StartupPack | undefined;
  hint: StartupHint | undefined;
}

/** Opens what `request` names: its source, and of the image all that a mount needs before the first file is read. */
export async function openImage(
  request: MountRequest,
  use: {
    services: MountServices;
    undo: MountUndo;
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
  undo.image.push(() => source.close());
  const { store, opened } = services;
  const { platform } = request;
  const startup: Startup = { pack: undefined, hint: undefined };
  const onStartupLayer = (layer: StartupLayer) => {
    const started = openStartupPack(layer, { services, source, stats, mayFetch: known === undefined });
    undo.image.push(() => started.close());
    startup.pack = started;
  };
  const onFirstOpen = (manifest: Descriptor) => {
    if (request.prefetch === false || known !== undefined) return;
    const hint = openStartupHint(manifest, { services, source });
    undo.place.push(() => hint.stop());
    startup.hint = hint;
  };
  const hooks = { onStartupLayer, onFirstOpen };
  const options = { source, store, opened, reference: name, platform, known, ...hooks, steps, signal };
  return { source, name, image: await openNydusImage(options), startup };
}

/** The caches of an image's blobs, in blob table order. */
export async function acquireBlobs(
  image: NydusImage,
  use: {
    source: ImageSource;
    info: MountInfo;
    request: MountRequest;
    services: MountServices;
    undo: MountUndo;
  },
): Promise<BlobCache[]> {
  const { cache, meters } = use.services;
  const { stats } = use.info;
  const { readTimeout } = use.request;
  const acquired = await Promise.allSettled(
    image.blobs.map(async ({ descriptor, layout }) => {
      const bytes = blobBytesOf(use.source, descriptor, { stats, meters, readTimeout });
      const blob = await cache.acquire(layout, bytes);
      use.undo.image.push(() => cache.release(blob));
      return blob;
    }),
  );
  return acquired.map((one) => {
    if (one.status === 'rejected') throw one.reason;
    return one.value;
  });
}
