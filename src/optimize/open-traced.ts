import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { BlobBytes } from '../cache/blob-bytes.js';
import type { BlobCache } from '../cache/blob-cache.js';
import { CacheStore } from '../cache/store.js';
import { isRafterError, RafterError } from '../errors.js';
import type { ImageConfig } from '../image/config.js';
import type { Descriptor } from '../image/descriptor.js';
import { findManifest } from '../image/find-manifest.js';
import type { Index, Manifest } from '../image/manifest.js';
import { readManifest } from '../image/read-manifest.js';
import type { ImageSource } from '../image/source.js';
import { openImageStore } from '../mount/image/image-store.js';
import { openNydusImage } from '../mount/image/nydus-image.js';
import { makeDirectories } from '../os/make-directories.js';
import { mergeTraces } from '../trace/merge.js';
import type { Trace } from '../trace/trace.js';

/** An image that was traced, open for reading what the traces touched. */
export interface TracedImage {
  /** All traces in one. */
  trace: Trace;
  /** What the reference names: the index that the image is in, or its manifest. */
  top: { descriptor: Descriptor; index: Index | undefined };
  descriptor: Descriptor;
  manifest: Manifest;
  config: ImageConfig;
  /** In blob table order. They belong to the cache. */
  blobs: BlobCache[];
  /** Counts what is read of them. */
  fetched: { bytes: number };
  warnings: string[];
}

export interface TracedImageRequest {
  /** The Nydus image that was traced. */
  source: ImageSource;
  /** What was recorded of one or more runs of the image. At least one. */
  traces: readonly Trace[];
  /** `linux/arm64`; which image of an index was traced. Default: this machine's. */
  platform?: string | undefined;
  /** Directory for what of the image is read; created if it is not there, and left as it was. */
  tempDir: string;
  signal?: AbortSignal | undefined;
}

/**
 * Opens the image that the traces are of, and gives it to `work` for as long as that runs. `doing` says what for: "optimizing".
 * Throws USAGE for traces of another image and for ones that touched nothing, INTERRUPTED, and what `openNydusImage` and `work` throw.
 */
export async function withTracedImage<T>(
  request: TracedImageRequest,
  doing: string,
  work: (image: TracedImage) => Promise<T>,
): Promise<T> {
  const { source, tempDir, signal } = request;
  const trace = mergeTraces(request.traces);
  if (trace.touches.length === 0) throw new RafterError('USAGE', 'nothing was read in what was traced');
  await makeDirectories(tempDir, 0o700);
  const dir = await mkdtemp(join(tempDir, `${doing}-`));
  try {
    const cache = await CacheStore.open(join(dir, 'cache'));
    try {
      return await work(await openTracedImage(request, { trace, dir, cache }));
    } finally {
      await cache.close();
    }
  } catch (error) {
    if (!signal?.aborted || isRafterError(error, 'INTERRUPTED')) throw error;
    throw new RafterError('INTERRUPTED', `${doing} ${source.name} was interrupted`, { cause: error });
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

async function openTracedImage(
  { source, platform, signal }: TracedImageRequest,
  { trace, dir, cache }: { trace: Trace; dir: string; cache: CacheStore },
): Promise<TracedImage> {
  const { name } = source;
  const top = await source.resolve(signal);
  let index: Index | undefined;
  const { descriptor, manifest } = await findManifest(top, {
    name,
    platform,
    read: async (wanted) => {
      const parsed = await readManifest(source, wanted, signal);
      if (parsed.kind === 'index') index = parsed;
      return parsed;
    },
  });
  const store = openImageStore(join(dir, 'images'));
  const image = await openNydusImage({ source, store, reference: name, known: descriptor, signal });
  checkBlobs(
    trace,
    image.blobs.map(({ layout }) => layout.id),
    name,
  );
  const fetched = { bytes: 0 };
  const blobs: BlobCache[] = [];
  for (const { descriptor: blob, layout } of image.blobs)
    blobs.push(await cache.acquire(layout, counted(source, blob, fetched)));
  const { config, warnings } = image;
  return { trace, top: { descriptor: top, index }, descriptor, manifest, config, blobs, fetched, warnings };
}

function counted(source: ImageSource, blob: Descriptor, fetched: { bytes: number }): BlobBytes {
  return {
    name: `${source.name}: ${blob.digest}`,
    async read(offset, length, signal) {
      const bytes = await source.readBlobRange(blob, offset, length, signal);
      fetched.bytes += bytes.length;
      return bytes;
    },
    distrust: (bytes) => source.distrust?.(bytes) ?? false,
  };
}

/** Blobs count, not manifests: one image may have been traced before it was optimized and after. */
function checkBlobs({ blobs, reference }: Trace, ids: string[], name: string): void {
  if (blobs.length === ids.length && blobs.every((id, i) => id === ids[i])) return;
  throw new RafterError('USAGE', `the trace is of another image: its blobs are not those of ${name}`, {
    hint: `it was recorded of ${reference}`,
  });
}
