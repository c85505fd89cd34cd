import { DIGEST_SIZE } from '../codec/digest.js';
import { copyWords, wordsOf } from './binary.js';
import { CHUNK_TABLE_ENTRY_SIZE, CHUNK_TABLE_WORDS } from './chunk-table.js';
import type { TableRange } from './extended-superblock.js';
import { MAX_CHUNK_COUNT } from './limits.js';

/** Above every row number. Chunk index (at most 2^24) times this plus a row is an exact double. */
const ROW_SPACE = 2 ** 28;

/**
 * Finds the digest of a chunk in the chunk table, which is sorted by digest. Keeps eight bytes per table row, whatever
 * counts the blob table claims. Rows of blobs or chunks that cannot exist are passed over: nothing refers to them.
 */
export class ChunkDigests {
  readonly #bytes: Buffer;
  readonly #offset: number;
  /** Per blob: chunk index * ROW_SPACE + row, ascending. */
  readonly #keys: Float64Array[];

  constructor(bytes: Buffer, table: TableRange, blobCount: number) {
    this.#bytes = bytes;
    this.#offset = table.offset;
    const rows = bytes.subarray(table.offset, table.offset + table.size);
    const words = wordsOf(rows) ?? copyWords(rows);
    const { entry, blobIndex: blobWord, index: indexWord } = CHUNK_TABLE_WORDS;
    const counts = new Uint32Array(blobCount);
    // Plain loops: the start of a container waits for them, in code that V8 has not optimized yet.
    for (let at = 0; at < words.length; at += entry) {
      const blobIndex = words[at + blobWord]!;
      if (blobIndex < blobCount && words[at + indexWord]! < MAX_CHUNK_COUNT) counts[blobIndex]!++;
    }
    this.#keys = Array.from(counts, (count) => new Float64Array(count));
    counts.fill(0);
    for (let at = 0, row = 0; at < words.length; at += entry, row++) {
      const blobIndex = words[at + blobWord]!;
      const index = words[at + indexWord]!;
      if (blobIndex < blobCount && index < MAX_CHUNK_COUNT)
        this.#keys[blobIndex]![counts[blobIndex]!++] = index * ROW_SPACE + row;
    }
    for (const keys of this.#keys) keys.sort();
  }

  /** The digest (a view of the bootstrap) of chunk `chunkIndex` of blob `blobIndex`, undefined if it is not listed. */
  find(blobIndex: number, chunkIndex: number): Buffer | undefined {
    const at = this.locate(blobIndex, chunkIndex);
    return at === undefined ? undefined : this.#bytes.subarray(at, at + DIGEST_SIZE);
  }

  /** Byte offset in the bootstrap of the first row that lists the chunk; undefined if none does. */
  locate(blobIndex: number, chunkIndex: number): number | undefined {
    const keys = this.#keys[blobIndex];
    if (!keys) return undefined;
    const wanted = chunkIndex * ROW_SPACE;
    let low = 0;
    let high = keys.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (keys[middle]! < wanted) low = middle + 1;
      else high = middle;
    }
    const key = keys[low];
    if (key === undefined || key >= wanted + ROW_SPACE) return undefined;
    return this.#offset + (key - wanted) * CHUNK_TABLE_ENTRY_SIZE;
  }
}
