import { setImmediate } from 'node:timers/promises';
import type { BlobCache } from '../../cache/blob-cache.js';
import type { StartupProfile } from '../../startup/profile.js';
import type { DaemonLog } from '../daemon-log.js';
import { type NydusImage, treeOf } from '../image/nydus-image.js';
import { listedChunks } from './prefetch-plan.js';
import { type HintedChunk, hintedChunks, type StartupHint } from './startup-hint.js';

/**
 * Stored bytes of one call for chunks, and the calls at a time. Together they keep a fast wire busy; what is on its way stands in front
 * of what a reader asks for, so that it must not be much.
 */
const RUN_BYTES = 2 << 20;
const RUNS_AT_A_TIME = 4;

/** Fetches the start-up data of one mount. */
export interface Prefetch {
  /** False when there is no more to be fetched, or it could not be. */
  readonly isRunning: boolean;
  /** Ends it and waits for that. */
  stop(): Promise<void>;
}

export interface PrefetchOptions {
  mountpoint: string;
  log: Pick<DaemonLog, 'info' | 'warn'>;
  /** What is attached to the image: as soon as it is known, it goes before what the image itself lists. */
  hint?: StartupHint | undefined;
}

/**
 * Begins to fetch what the image's prefetch table lists, or a start-up profile, in its order, ahead of its readers and after what they wait
 * for. Chunks that are here are passed over. Nothing of it is ever an error: what cannot be fetched, or does not fit, is left to the readers.
 */
export function startPrefetch(
  image: Pick<NydusImage, 'tree'>,
  blobs: readonly BlobCache[],
  { mountpoint, log, hint }: PrefetchOptions,
): Prefetch | undefined {
  const isListed = treeOf(image).bootstrap.prefetchNids.length > 0;
  if ((!isListed && hint === undefined) || blobs.length === 0) return undefined;
  /** It alone holds the tree here, as long as there is work. */
  let listed: ReturnType<typeof listedChunks> | undefined = listedChunks(treeOf(image).bootstrap);
  const abort = new AbortController();
  const { signal } = abort;

  /** What to fetch, the most urgent first. */
  async function* plan(): AsyncGenerator<Run> {
    let hinted: Generator<Run> | undefined;
    const asked = hint?.profile.then((profile) => {
      hinted = profile && runs(chunksOf(profile), blobs);
    });
    // One that is here already is known after this.
    await setImmediate();
    for (const run of runs(listed ?? [], blobs)) {
      if (hinted) yield* hinted;
      yield run;
    }
    await asked;
    if (hinted) yield* hinted;
  }

  function chunksOf(profile: StartupProfile): Iterable<HintedChunk> {
    try {
      const chunks = hintedChunks(profile, blobs);
      log.info('the start-up profile that is attached to the image is used', { mountpoint });
      return chunks;
    } catch (error) {
      log.warn('the start-up profile that is attached to the image is not used', { mountpoint, error });
      return [];
    }
  }

  async function work(): Promise<void> {
    const running = new Set<Promise<void>>();
    try {
      for await (const { blob, indices } of plan()) {
        if (signal.aborted) return;
        const run = fetchRun(blob, indices).finally(() => running.delete(run));
        running.add(run);
        while (running.size >= RUNS_AT_A_TIME) await Promise.race(running);
        if (signal.aborted) return;
      }
      await Promise.all(running);
    } finally {
      listed = undefined;
      abort.abort();
      await Promise.allSettled(running);
    }
  }

  async function fetchRun(blob: BlobCache, indices: number[]): Promise<void> {
    if (!(await blob.prefetch(indices, { class: 'startup', signal }))) abort.abort();
  }

  let isStopped = false;
  let isRunning = true;
  const running = work()
    .catch((error: unknown) => {
      if (!isStopped) log.warn('the start-up data is not fetched ahead', { mountpoint, error });
    })
    .finally(() => {
      isRunning = false;
    });
  return {
    get isRunning() {
      return isRunning;
    },
    async stop() {
      isStopped = true;
      abort.abort();
      await hint?.stop();
      await running;
    },
  };
}

/** Chunks of one blob that are asked for together, ascending. */
interface Run {
  blob: BlobCache;
  indices: number[];
}

/** Chunks of one blob, in the order of the list and, in themselves, ascending. */
function* runs(chunks: Iterable<HintedChunk>, blobs: readonly BlobCache[]): Generator<Run> {
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
