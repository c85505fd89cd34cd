import { BATCH_CONTEXT_SIZE } from './batch-context.js';
import { wordsOf } from './binary.js';
import { storedDataSize } from './blob-check.js';
import type { BlobEntry } from './blob-entry.js';
import { CHUNK_INFO_V2_SIZE, ChunkInfoFlag } from './chunk-info-v2.js';
import { BLOCK_SIZE, MAX_BATCH_SIZE } from './limits.js';

/** A chunk that is encrypted, or in a gzip slice, gets no quick look. */
const RARE = ChunkInfoFlag.ZRAN | ChunkInfoFlag.ENCRYPTED;

/**
 * True if a quick look at all chunk infos V2 in `array`, the decoded compression contexts of `blob`, found nothing that `checkChunks`
 * refuses. False says only that a careful look is due. As of `isSoundTree`, a first mount waits for it: it makes no objects.
 */
export function areSoundChunks(array: Buffer, blob: BlobEntry): boolean {
  const { chunkCount, chunkSize, uncompressedSize } = blob;
  const batches = chunkCount * CHUNK_INFO_V2_SIZE;
  const words = wordsOf(array);
  if (words === undefined || batches > array.length) return false;
  const dataSize = storedDataSize(blob);
  const batchCount = Math.floor((array.length - batches) / BATCH_CONTEXT_SIZE);
  let end = 0;
  for (let word = 0; word < batches / 4; word += CHUNK_INFO_V2_SIZE / 4) {
    // The words of `decodeChunkInfoV2`.
    const decodedOffset = words[word]! * BLOCK_SIZE;
    const sizeAndFlags = words[word + 1]!;
    const size = (sizeAndFlags & 0xffffff) + 1;
    const flags = sizeAndFlags >>> 24;
    const high = words[word + 3]!;
    const storedOffset = words[word + 2]! + (high & 0xff) * 2 ** 32;
    const storedSize = high >>> 8;
    if ((flags & RARE) !== 0 || decodedOffset < end || size > chunkSize) return false;
    end = decodedOffset + size;
    if (end > uncompressedSize) return false;
    const low = words[word + 4]!;
    if ((flags & ChunkInfoFlag.BATCH) === 0) {
      if (storedSize === 0 || storedOffset + storedSize > dataSize) return false;
      if ((flags & ChunkInfoFlag.COMPRESSED) === 0 && storedSize !== size) return false;
      if ((flags & ChunkInfoFlag.HAS_CRC) !== 0 && low === 0) return false;
      continue;
    }
    const index = words[word + 5]!;
    if (index >= batchCount) return false;
    const batch = (batches + index * BATCH_CONTEXT_SIZE) / 4;
    const batchStored = words[batch]!;
    const batchDecoded = words[batch + 1]!;
    if (batchDecoded > MAX_BATCH_SIZE || batchStored === 0 || batchStored > batchDecoded) return false;
    if (low + size > batchDecoded || storedOffset + batchStored > dataSize) return false;
  }
  return true;
}
