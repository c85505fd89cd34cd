import { join } from 'node:path';
import type { BlobBytes } from '../cache/blob-bytes.js';
import type { BlobCache } from '../cache/blob-cache.js';
import type { CacheStore } from '../cache/store.js';
import { RafterError } from '../errors.js';
import type { ImageConfig } from '../image/config.js';
import type { Descriptor } from '../image/descriptor.js';
import { findManifest } from '../image/find-manifest.js';
import type { Index, Manifest } from '../image/manifest.js';
import { readManifest } from '../image/read-manifest.js';
import type { ImageSource } from '../image/source.js';
import { openImageStore } from '../mount/image-store.js';
import { openNydusImage } from '../mount/nydus-image.js';
import type { Trace } from '../trace/trace.js';

/** An image that was traced, open for reading what the traces touched. */
export interface TracedImage {
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

export interface OpenTracedOptions {
  trace: Trace;
  platform: string | undefined;
  signal: AbortSignal | undefined;
  /** For manifests and bootstrap. */
  dir: string;
  cache: CacheStore;
}

/** Opens the image that `trace` is of. Throws USAGE if it has other blobs, and what `openNydusImage` throws. */
export async function openTracedImage(source: ImageSource, options: OpenTracedOptions): Promise<TracedImage> {
  const { trace, platform, signal, dir, cache } = options;
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
  return { top: { descriptor: top, index }, descriptor, manifest, config, blobs, fetched, warnings };
}

function counted(source: ImageSource, blob: Descriptor, fetched: { bytes: number }): BlobBytes {
  return {
    name: `${source.name}: ${blob.digest}`,
    async read(offset, length, signal) {
      const bytes = await source.readBlobRange(blob, offset, length, signal);
      fetched.bytes += bytes.length;
      return bytes;
    },
  };
}

/** Blobs count, not manifests: one image may have been traced before it was optimized and after. */
function checkBlobs({ blobs, reference }: Trace, ids: string[], name: string): void {
  if (blobs.length === ids.length && blobs.every((id, i) => id === ids[i])) return;
  throw new RafterError('USAGE', `the trace is of another image: its blobs are not those of ${name}`, {
    hint: `it was recorded of ${reference}`,
  });
}
