import { setImmediate as nextTurn } from 'node:timers/promises';
import type { BlobCache } from './blob-cache.js';
import { CLASS_LIMITS } from './fetch/fetch-class.js';
import type { Pace } from './fetch/pace.js';
import { unitPlaceOf } from './unit.js';

/** Chunks that are looked at before others may work. */
const CHUNKS_PER_TURN = 1000;

/**
 * Fetches what is missing of a view, in the order in which it is stored, in requests of the class `completion`. True if
 * everything is here then; false if it does not fit, and then the rest is left. Throws what the source throws, and what
 * `BlobCache.read` throws when it is called off.
 */
export async function completeBlob(
  view: BlobCache,
  { pace, signal }: { pace: Pace; signal: AbortSignal },
): Promise<boolean> {
  // At a low rate, a second's bytes at a time.
  const limit = Math.min(CLASS_LIMITS.completion.requestBytes, pace.rate);
  for await (const { indices, bytes } of missingRuns(view, limit)) {
    signal.throwIfAborted();
    await pace.take(bytes, signal);
    if (!(await view.prefetch(indices, { class: 'completion', signal }))) return false;
  }
  return view.findLocal();
}

/** Chunks that are not here, as many together as `limit` stored bytes have, and those bytes. */
async function* missingRuns(
  view: BlobCache,
  limit: number,
): AsyncGenerator<{ indices: number[]; bytes: number }> {
  const { layout } = view;
  let indices: number[] = [];
  let bytes = 0;
  let lastUnit = -1;
  let seen = 0;
  for (const index of inStoredOrder(view)) {
    if (++seen % CHUNKS_PER_TURN === 0) await nextTurn();
    if (view.has(index) || layout.chunkDigest(index) === undefined) continue;
    const { storedOffset, storedSize } = unitPlaceOf(layout.chunk(index));
    const isNew = storedOffset !== lastUnit;
    if (isNew && indices.length > 0 && bytes + storedSize > limit) {
      yield { indices: indices.sort((a, b) => a - b), bytes };
      indices = [];
      bytes = 0;
    }
    indices.push(index);
    if (isNew) bytes += storedSize;
    lastUnit = storedOffset;
  }
  if (indices.length > 0) yield { indices: indices.sort((a, b) => a - b), bytes };
}

function inStoredOrder({ layout }: BlobCache): Uint32Array {
  const { chunkCount } = layout;
  const offsets = new Float64Array(chunkCount);
  for (let index = 0; index < chunkCount; index++) offsets[index] = layout.chunk(index).storedOffset;
  return Uint32Array.from({ length: chunkCount }, (_, index) => index).sort(
    (a, b) => offsets[a]! - offsets[b]! || a - b,
  );
}
