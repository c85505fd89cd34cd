import { randomBytes } from 'node:crypto';
import type { BlobCache } from '../cache/blob-cache.js';
import { layoutOf } from '../cache/layout.js';
import type { CacheStore } from '../cache/store.js';
import { RafterError } from '../errors.js';
import { formatReference, parseReference } from '../image/reference.js';
import type { ImageSource } from '../image/source.js';
import { findMount } from '../os/mountinfo.js';
import { PATIENT_RETRY } from '../registry/retry.js';
import { openSource } from '../transports/open.js';
import type { ActiveMount } from './active-mount.js';
import type { MountInfo, MountRequest } from './api.js';
import { blobBytesOf } from './blob-bytes.js';
import type { DaemonLog } from './daemon-log.js';
import type { Drivers } from './drivers.js';
import type { ImageStore } from './image-store.js';
import { type NydusImage, openNydusImage } from './nydus-image.js';

/** What all mounts of a daemon share. */
export interface MountServices {
  store: ImageStore;
  cache: CacheStore;
  drivers: Drivers;
  log: DaemonLog;
}

/** An image that is mounted. */
export interface MountedImage {
  readonly info: MountInfo;
  readonly image: NydusImage;
  /** `major:minor` of the mount. */
  readonly device: string;
  readonly active: ActiveMount;
  /** Settles when the mount is gone, whoever unmounted it, and caches and connections are given back. */
  readonly released: Promise<void>;
}

/**
 * Opens the image that `request` names and mounts it at `mountpoint`, a canonical path that nothing is mounted at. What
 * fails on the way is undone before the error is thrown: no mount, no open file, no connection stays.
 */
export async function mountImage(
  request: MountRequest,
  mountpoint: string,
  { services, signal }: { services: MountServices; signal?: AbortSignal },
): Promise<MountedImage> {
  const undo: (() => unknown)[] = [];
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
    const reference = parseReference(request.reference);
    const name = formatReference(reference);
    const source = openSource(reference, { ...request.access, retry: PATIENT_RETRY });
    undo.push(() => source.close());
    const { store } = services;
    const image = await openNydusImage({
      source,
      store,
      reference: name,
      platform: request.platform,
      signal,
    });
    const info = describe(image, { reference: name, mountpoint });
    const blobs = await acquireBlobs(image, { source, info, services, undo });
    signal?.throwIfAborted();
    const { driver, transport } = request;
    const how = { driver, transport, id: info.id, mountpoint };
    const { active, choice } = await services.drivers.mount(image, blobs, how);
    const released = active.ended.then(release);
    const device = (await findMount(mountpoint))?.device ?? '';
    return { info: Object.assign(info, choice), image, device, active, released };
  } catch (error) {
    await release();
    throw signal?.aborted
      ? new RafterError('INTERRUPTED', `mounting ${request.reference}: interrupted`)
      : error;
  }
}

function describe(image: NydusImage, where: Pick<MountInfo, 'reference' | 'mountpoint'>): MountInfo {
  return {
    id: randomBytes(6).toString('hex'),
    ...where,
    digest: image.digest,
    driver: 'fuse',
    mountedAt: new Date().toISOString(),
    imageSize: image.imageSize,
    metadataBytes: image.metadataBytes,
    stats: { fetchedBytes: 0, requests: 0 },
    warnings: image.warnings,
  };
}

/** The caches of an image's blobs, in blob table order. */
async function acquireBlobs(
  image: NydusImage,
  use: { source: ImageSource; info: MountInfo; services: MountServices; undo: (() => unknown)[] },
): Promise<BlobCache[]> {
  const { cache } = use.services;
  const caches: BlobCache[] = [];
  for (const [index, { descriptor, map }] of image.blobs.entries()) {
    const layout = layoutOf(image.bootstrap, index, map);
    const blob = await cache.acquire(layout, blobBytesOf(use.source, descriptor, use.info.stats));
    use.undo.push(() => cache.release(blob));
    caches.push(blob);
  }
  return caches;
}
