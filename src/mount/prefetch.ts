import type { BlobCache } from '../cache/blob-cache.js';
import type { DaemonLog } from './daemon-log.js';
import type { NydusImage } from './nydus-image.js';
import { listedChunks } from './prefetch-plan.js';

/**
 * Stored bytes of one call for chunks, and the calls at a time. Together they keep a fast wire busy; what is on its way stands in front
 * of what a reader asks for, so that it must not be much.
 */
const RUN_BYTES = 2 << 20;
const RUNS_AT_A_TIME = 4;

/** Fetches the start-up data of one mount. */
export interface Prefetch {
  /** Ends it and waits for that. */
  stop(): Promise<void>;
}

/**
 * Begins to fetch what the image's prefetch table lists, in its order, ahead of its readers and after what they wait for. Chunks that
 * are here are passed over. Nothing of it is ever an error: what cannot be fetched, or does not fit, is left to the readers.
 */
export function startPrefetch(
  { bootstrap }: Pick<NydusImage, 'bootstrap'>,
  blobs: readonly BlobCache[],
  { mountpoint, log }: { mountpoint: string; log: Pick<DaemonLog, 'warn'> },
): Prefetch | undefined {
  if (bootstrap.prefetchNids.length === 0 || blobs.length === 0) return undefined;
  const abort = new AbortController();
  const { signal } = abort;

  async function work(): Promise<void> {
    const running = new Set<Promise<void>>();
    try {
      for (const { blob, indices } of runs(listedChunks(bootstrap), blobs)) {
        const run = fetchRun(blob, indices).finally(() => running.delete(run));
        running.add(run);
        while (running.size >= RUNS_AT_A_TIME) await Promise.race(running);
        if (signal.aborted) return;
      }
      await Promise.all(running);
    } finally {
      abort.abort();
      await Promise.allSettled(running);
    }
  }

  async function fetchRun(blob: BlobCache, indices: number[]): Promise<void> {
    if (!(await blob.prefetch(indices, { class: 'startup', signal }))) abort.abort();
  }

  const running = work().catch((error: unknown) => {
    if (!isStopped) log.warn('the start-up data is not fetched ahead', { mountpoint, error });
  });
  let isStopped = false;
  return {
    async stop() {
      isStopped = true;
      abort.abort();
      await running;
    },
  };
}

/** Chunks of one blob, in the order of the list and, in themselves, ascending. */
function* runs(
  chunks: Iterable<{ blobIndex: number; chunkIndex: number }>,
  blobs: readonly BlobCache[],
): Generator<{ blob: BlobCache; indices: number[] }> {
  let blob: BlobCache | undefined;
  let indices: number[] = [];
  let bytes = 0;
  for (const { blobIndex, chunkIndex } of chunks) {
    const next = blobs[blobIndex]!;
    if (next.has(chunkIndex)) continue;
    if (blob !== undefined && (next !== blob || bytes >= RUN_BYTES)) {
      yield { blob, indices: indices.sort((a, b) => a - b) };
      indices = [];
      bytes = 0;
    }
    blob = next;
    indices.push(chunkIndex);
    bytes += next.layout.chunk(chunkIndex).storedSize;
  }
  if (blob !== undefined) yield { blob, indices: indices.sort((a, b) => a - b) };
}
