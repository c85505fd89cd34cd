import { ociDigest } from '../codec/digest.js';
import type { Digest } from '../image/descriptor.js';
import { storeBlob } from '../image/store-blob.js';
import type { ImageTarget } from '../image/target.js';
import { touchedBytes } from '../trace/trace.js';
import { type TracedImage, type TracedImageRequest, withTracedImage } from './open-traced.js';
import { packImage } from './pack-image.js';
import { publish } from './publish.js';

/** The image may have a start-up pack: a new one takes its place. */
export interface OptimizeRequest extends TracedImageRequest {
  /** May be the same image. */
  target: ImageTarget;
  /** `done` and `total` are decoded bytes of the pack (`pack`) or bytes of blobs at the target (`copy`). */
  onProgress?: ((step: 'pack' | 'copy', done: number, total: number) => void) | undefined;
}

/** What an optimization made. Sizes in bytes. */
export interface OptimizeSummary {
  /** What the target names now: a manifest, or the index that it is in. */
  digest: Digest;
  /** The optimized image's manifest. */
  manifest: Digest;
  pack: { digest: Digest; size: number; decodedSize: number; pieces: number };
  /** What the traces touched. */
  touchedBytes: number;
  /** What of the image's chunks had to be fetched for that, as stored. */
  chunkBytes: number;
  copiedBytes: number;
  warnings: string[];
}

/**
 * Makes the image at `source` start from one stream: copies it to `target` with a start-up pack of what `traces` touched, in the order of
 * first use, as one more layer. Of an index the manifest of the platform is replaced, all else is copied as it is. The bootstrap
 * stays, so that other tools mount the image as before. The same image and traces give the same bytes. After an error
 * nothing is visible at the target.
 * Throws USAGE for traces of another image and for ones that touched nothing, and what source, target and readers throw.
 */
export async function optimizeImage(request: OptimizeRequest): Promise<OptimizeSummary> {
  try {
    return await withTracedImage(request, 'optimizing', (image) => optimize(request, image));
  } catch (error) {
    await request.target.abort();
    throw error;
  }
}

async function optimize(request: OptimizeRequest, image: TracedImage): Promise<OptimizeSummary> {
  const { source, target, signal, onProgress } = request;
  const packed = await packImage(image.trace, image.blobs, {
    signal,
    onProgress: (done, total) => onProgress?.('pack', done, total),
  });
  const { stored } = await storeBlob(target, signal, async (write) => {
    for (const part of packed.parts) await write(part);
  });
  const head = packed.parts[0]!;
  const pack = { ...stored, tableSize: head.length, tableDigest: ociDigest(head) };
  const published = await publish(image, { source, target, pack, signal, onProgress });
  await target.commit();
  return {
    digest: published.top.digest,
    manifest: published.manifest.digest,
    pack: { ...stored, decodedSize: packed.decodedSize, pieces: packed.pieceCount },
    touchedBytes: touchedBytes(image.trace),
    chunkBytes: image.fetched.bytes,
    copiedBytes: published.copiedBytes,
    warnings: image.warnings,
  };
}
