import { setTimeout as sleep } from 'node:timers/promises';
import type { BlobCache } from '../../cache/blob-cache.js';
import { completeBlob } from '../../cache/completion.js';
import { Pace } from '../../cache/fetch/pace.js';
import type { CompletionState, MountRequest } from '../api/api.js';
import type { DaemonLog } from '../daemon-log.js';

/** The start of an image is over when its readers had to wait for nothing for so long, in milliseconds. */
const QUIET_MS = 3000;
const QUIET_POLL_MS = 500;
/** Waits after a failure, or while there is no room, in milliseconds: doubled each time. */
const FIRST_PAUSE_MS = 5_000;
const LONGEST_PAUSE_MS = 300_000;

/** Completes the blobs of one mount in the background. */
export interface Completion {
  readonly state: CompletionState;
  /** Ends it and waits for that. */
  stop(): Promise<void>;
}

export interface CompletionOptions {
  request: Pick<MountRequest, 'complete' | 'completeRate'>;
  /** For messages. */
  mountpoint: string;
  log: DaemonLog;
  /** Shorter pauses, for tests. */
  quietMs?: number;
}

/**
 * Fetches everything that is missing of `blobs`, those first that lack least, and goes on until all is here: also after
 * failures and when there is room again. Nothing for a request that does not ask for it.
 */
export function startCompletion(
  blobs: readonly BlobCache[],
  { request, mountpoint, log, quietMs = QUIET_MS }: CompletionOptions,
): Completion | undefined {
  const { complete: when = 'off', completeRate } = request;
  if (when === 'off') return undefined;
  const abort = new AbortController();
  const { signal } = abort;
  let state: CompletionState = 'waiting';

  async function work(): Promise<void> {
    if (when === 'after-ready') await untilQuiet(blobs, { quietMs, signal });
    const pace = new Pace(completeRate);
    for (let pause = FIRST_PAUSE_MS; ; pause = Math.min(2 * pause, LONGEST_PAUSE_MS)) {
      state = 'running';
      if (await completeAll(pace)) {
        state = 'done';
        log.info('complete', { mountpoint });
        return;
      }
      state = 'paused';
      await sleep(pause, undefined, { signal, ref: false });
    }
  }

  /** False if something could not be fetched now. */
  async function completeAll(pace: Pace): Promise<boolean> {
    let done = true;
    for (const blob of nearestFirst(blobs)) {
      try {
        if (await completeBlob(blob, { pace, signal })) continue;
        log.info('no room to complete a blob', { mountpoint, blob: blob.layout.id });
      } catch (error) {
        signal.throwIfAborted();
        log.warn('cannot complete a blob now', { mountpoint, blob: blob.layout.id, error });
      }
      done = false;
    }
    return done;
  }

  const running = work().catch((error) => {
    if (!signal.aborted) log.error('completion failed', { mountpoint, error });
  });
  return {
    get state() {
      return state;
    },
    async stop() {
      abort.abort();
      await running;
    },
  };
}

/** Resolves when no reader had to have anything fetched for `quietMs`. */
export async function untilQuiet(
  blobs: readonly BlobCache[],
  { quietMs, signal }: { quietMs: number; signal: AbortSignal },
): Promise<void> {
  const misses = () => blobs.reduce((sum, { stats }) => sum + stats.misses, 0);
  let last = misses();
  for (let since = performance.now(); performance.now() - since < quietMs; ) {
    await sleep(Math.min(QUIET_POLL_MS, quietMs), undefined, { signal, ref: false });
    const now = misses();
    if (now === last) continue;
    last = now;
    since = performance.now();
  }
}

function nearestFirst(blobs: readonly BlobCache[]): BlobCache[] {
  const missing = (blob: BlobCache) => {
    const { bytes, localBytes } = blob.extent;
    return bytes - localBytes;
  };
  const measured = blobs.map((blob) => ({ blob, bytes: missing(blob) }));
  return measured.sort((a, b) => a.bytes - b.bytes).map(({ blob }) => blob);
}
