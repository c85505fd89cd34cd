import { join } from 'node:path';
import { setPin } from '../../cache/quota/catalog.js';
import { listCache } from '../../cache/quota/inventory.js';
import { pruneCache } from '../../cache/quota/prune.js';
import { scrubBlob } from '../../cache/scrub.js';
import type { CacheStore } from '../../cache/store.js';
import { RafterError } from '../../errors.js';
import type {
  CacheListing,
  CachePins,
  CachePruned,
  CacheVerification,
  PinRequest,
  PruneRequest,
} from '../api/cache-api.js';
import { type KnownImage, listImages, pruneImages } from '../image/image-prune.js';
import type { ImageStore } from '../image/image-store.js';

/** Looks after the cache of a data root. The daemon does it for others; without one a command does it itself. */
export interface CacheService {
  list(): Promise<CacheListing>;
  /** Reads everything again. Throws INTERRUPTED when `signal` is aborted. */
  verify(signal?: AbortSignal): Promise<CacheVerification>;
  /** Without a rule: what no known image needs. Mounted images and pinned blobs stay always. */
  prune(request: PruneRequest): Promise<CachePruned>;
  /** Throws NOT_FOUND for what is neither a known image nor a blob of the cache. */
  pin(request: PinRequest): Promise<CachePins>;
}

export interface CacheServiceOptions {
  cache: CacheStore;
  store: ImageStore;
  /** Directory of the image store and of temporary files. */
  dataRoot: string;
  /** Digests of the manifests that are mounted. */
  mounted: () => string[];
  /** Gives up what is kept of images that are not mounted any more, so that it is not in use. */
  giveUpKept?: () => Promise<void>;
}

export function createCacheService(options: CacheServiceOptions): CacheService {
  const { cache, store, dataRoot, mounted, giveUpKept = async () => {} } = options;
  const imageDir = join(dataRoot, 'images');
  const tempDir = join(dataRoot, 'tmp');

  async function list(): Promise<CacheListing> {
    await giveUpKept();
    const [blobs, images] = await Promise.all([listCache(cache), listImages(imageDir)]);
    const users = (id: string) => images.filter((image) => image.blobs.includes(id));
    const named = blobs.map((blob) => ({
      ...blob,
      images: [...new Set(users(blob.id).map(({ reference }) => reference))],
    }));
    const localBytes = blobs.reduce((sum, blob) => sum + blob.localBytes, 0);
    return { dir: cache.dir, localBytes, blobs: named };
  }

  /** Images that stay known: those that are mounted, and those that still have something here. */
  async function keptImages(): Promise<KnownImage[]> {
    const here = new Set((await listCache(cache)).map(({ id }) => id));
    const inUse = new Set(mounted());
    return (await listImages(imageDir)).filter(
      (image) =>
        inUse.has(image.manifest) ||
        (!image.stale && (image.blobs.length === 0 || image.blobs.some((id) => here.has(id)))),
    );
  }

  return {
    list,

    async verify(signal) {
      await giveUpKept();
      const sum: CacheVerification = { chunks: 0, bytes: 0, damaged: 0, unfinished: 0, damagedBlobs: [] };
      for (const { name } of await listCache(cache)) {
        const found = await scrubBlob(cache, name, signal);
        sum.chunks += found?.chunks ?? 0;
        sum.bytes += found?.bytes ?? 0;
        sum.damaged += found?.damaged ?? 0;
        sum.unfinished += found?.unfinished ?? 0;
        if (found === undefined || found.damaged > 0) sum.damagedBlobs.push(name);
      }
      return sum;
    },

    async prune({ all, olderThan, maxBytes }) {
      await giveUpKept();
      const inUse = new Set(mounted());
      const current = (await listImages(imageDir)).filter(
        ({ stale, manifest }) => !stale || inUse.has(manifest),
      );
      const needed = new Set(current.flatMap((image) => image.blobs));
      const { blobs, bytes } = await pruneCache(cache, {
        unless: (id) => needed.has(id),
        all,
        usedBefore: olderThan === undefined ? undefined : Date.now() - olderThan * 1000,
        maxBytes,
      });
      const rest = await pruneImages({ dir: imageDir, tempDir, store }, await keptImages());
      const { images = [], files = 0, bytes: more = 0 } = rest ?? {};
      return { blobs, images, files, bytes: bytes + more };
    },

    async pin({ target, pinned }) {
      const known = (await listImages(imageDir)).filter(({ reference }) => reference === target);
      const here = (await listCache(cache)).filter(({ id }) => id === target);
      const ids = [...new Set([...known.flatMap((image) => image.blobs), ...here.map(({ id }) => id)])];
      if (ids.length === 0)
        throw new RafterError('NOT_FOUND', `${target} is neither an image that was mounted here nor a blob`, {
          hint: 'rafter cache ls shows both; mount an image first',
        });
      for (const id of ids) await setPin(cache.dir, id, pinned);
      return { blobs: ids };
    },
  };
}
