import { setImmediate as nextTurn } from 'node:timers/promises';
import { chunkDigest } from '../codec/digest.js';
import { RafterError } from '../errors.js';
import { ChunkPlaces } from './chunk-places.js';
import type { BlobStorage } from './storage/blob-storage.js';
import type { CacheStore } from './store.js';

/** What a scrub of one blob, or of several, found. */
export interface ScrubResult {
  /** Chunks that were read again. */
  chunks: number;
  /** Decoded bytes of them. */
  bytes: number;
  /** Chunks that were not what they were when they were stored: dropped, they are fetched again when they are read. */
  damaged: number;
  /** Chunks that an unclean stop left unfinished: dropped, too. */
  unfinished: number;
}

/** Reads every chunk of blob `stem` again and drops what is damaged. Undefined if its files are not readable as a blob. */
export function scrubBlob(
  store: CacheStore,
  stem: string,
  signal?: AbortSignal,
): Promise<ScrubResult | undefined> {
  return store.withStorage(stem, (storage, places) =>
    scrub(storage, new ChunkPlaces(places), () => {
      signal?.throwIfAborted();
      if (store.isClosed) throw new RafterError('INTERRUPTED', `the cache ${store.dir} is being closed`);
    }),
  );
}

async function scrub(
  storage: BlobStorage,
  places: ChunkPlaces,
  throwIfInterrupted: () => void,
): Promise<ScrubResult> {
  const result: ScrubResult = { chunks: 0, bytes: 0, damaged: 0, unfinished: 0 };
  for (let index = 0; index < places.count; index++) {
    if (!storage.has(index)) continue;
    throwIfInterrupted();
    // Readers of the same thread come first.
    await nextTurn();
    if (!storage.has(index)) continue;
    const size = places.size(index);
    const digest = storage.recordOf(index);
    const isSuspect = storage.isSuspect(index);
    // The map does not say which algorithm its image has.
    const isRight = (bytes: Buffer) =>
      chunkDigest('blake3', bytes).equals(digest) || chunkDigest('sha256', bytes).equals(digest);
    await storage.recheck({ index, decodedOffset: places.offset(index), size }, digest, isRight);
    result.chunks++;
    result.bytes += size;
    if (storage.has(index)) continue;
    if (isSuspect) result.unfinished++;
    else result.damaged++;
  }
  return result;
}
