import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { CacheStore } from '../cache/store.js';
import { ociDigest } from '../codec/digest.js';
import { isRafterError, RafterError } from '../errors.js';
import type { Digest } from '../image/descriptor.js';
import type { ImageSource } from '../image/source.js';
import { storeBlob } from '../image/store-blob.js';
import type { ImageTarget } from '../image/target.js';
import { mergeTraces } from '../trace/merge.js';
import type { Trace } from '../trace/trace.js';
import { openTracedImage } from './open-traced.js';
import { packImage } from './pack-image.js';
import { publish } from './publish.js';

export interface OptimizeRequest {
  /** The Nydus image that was traced. It may have a start-up pack: a new one takes its place. */
  source: ImageSource;
  /** May be the same image. */
  target: ImageTarget;
  /** What was recorded of one or more runs of the image. At least one. */
  traces: readonly Trace[];
  /** `linux/arm64`; which image of an index was traced. Default: this machine's. */
  platform?: string | undefined;
  /** Directory for chunks of the image until the pack is made; created if it is not there. */
  tempDir: string;
  signal?: AbortSignal | undefined;
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
  const { target, tempDir, signal } = request;
  const trace = mergeTraces(request.traces);
  await mkdir(tempDir, { recursive: true, mode: 0o700 });
  const dir = await mkdtemp(join(tempDir, 'optimize-'));
  try {
    return await optimize(request, trace, dir);
  } catch (error) {
    await target.abort();
    if (signal?.aborted && !isRafterError(error, 'INTERRUPTED'))
      throw new RafterError('INTERRUPTED', `optimizing ${request.source.name} was interrupted`, {
        cause: error,
      });
    throw error;
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

async function optimize(request: OptimizeRequest, trace: Trace, dir: string): Promise<OptimizeSummary> {
  const { source, target, platform, signal, onProgress } = request;
  const touchedBytes = trace.touches.reduce((sum, { length }) => sum + length, 0);
  if (touchedBytes === 0) throw new RafterError('USAGE', 'nothing was read in what was traced');
  const cache = await CacheStore.open(join(dir, 'cache'));
  try {
    const traced = await openTracedImage(source, { trace, platform, signal, dir, cache });
    const packed = await packImage(trace, traced.blobs, {
      signal,
      onProgress: (done, total) => onProgress?.('pack', done, total),
    });
    const { stored } = await storeBlob(target, signal, async (write) => {
      for (const part of packed.parts) await write(part);
    });
    const head = packed.parts[0]!;
    const pack = { ...stored, tableSize: head.length, tableDigest: ociDigest(head) };
    const published = await publish(traced, { source, target, pack, signal, onProgress });
    await target.commit();
    return {
      digest: published.top.digest,
      manifest: published.manifest.digest,
      pack: { ...stored, decodedSize: packed.decodedSize, pieces: packed.pieceCount },
      touchedBytes,
      chunkBytes: traced.fetched.bytes,
      copiedBytes: published.copiedBytes,
      warnings: traced.warnings,
    };
  } finally {
    await cache.close();
  }
}
