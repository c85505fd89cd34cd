import { RafterError } from '../../errors.js';
import { malformed } from '../binary.js';
import type { BlobChunk } from '../blob-meta.js';
import type { ChunkMap } from '../bootstrap.js';
import {
  CHUNK_TABLE_ENTRY_SIZE,
  ChunkFlag,
  type ChunkTableEntry,
  chunkDecodedOffset,
  chunkTableKey,
  decodeChunkPlace,
  decodeChunkTableEntry,
} from '../chunk-table.js';
import { fileChunks, recordCount, type V5Image } from './inode.js';

/**
 * The chunks of one blob that a RAFS v5 bootstrap uses, ascending in decoded space: v5 blobs have no chunk infos, so those that
 * no file needs are unknown. The position of a chunk in this list is what readers call its index. Keeps twelve bytes per chunk.
 */
export class ChunkList implements ChunkMap {
  readonly chunkCount: number;
  readonly #bytes: Buffer;
  /** Decoded offsets, ascending. */
  readonly #offsets: Float64Array;
  /** Byte offset in the bootstrap of the first entry for each. */
  readonly #entries: Uint32Array;

  /** `entries` are byte offsets of chunk entries in `bytes`, those of shared chunks several times. */
  constructor(bytes: Buffer, entries: Uint32Array, source: string) {
    const offsets = new Float64Array(entries.length);
    for (let i = 0; i < entries.length; i++) offsets[i] = chunkDecodedOffset(bytes, entries[i]!);
    offsets.sort();
    let count = 0;
    for (const offset of offsets) if (count === 0 || offsets[count - 1] !== offset) offsets[count++] = offset;
    this.#bytes = bytes;
    this.#offsets = offsets.slice(0, count);
    this.#entries = new Uint32Array(count);
    this.chunkCount = count;
    for (const entry of entries) {
      const index = this.chunkNumber(chunkDecodedOffset(bytes, entry))!;
      const known = this.#entries[index]!;
      if (known === 0) this.#entries[index] = entry;
      else if (!sameChunk(bytes, known, entry)) {
        throw new RafterError(
          'MALFORMED',
          `${source}: chunk entries at offsets ${known} and ${entry} say different things of one chunk`,
        );
      }
    }
  }

  chunk(index: number): BlobChunk {
    const { size, storedOffset, storedSize, decodedOffset, flags, crc } = decodeChunkPlace(
      this.#bytes,
      this.entryOffset(index),
    );
    return {
      index,
      decodedOffset,
      size,
      storedOffset,
      storedSize,
      compressed: (flags & ChunkFlag.COMPRESSED) !== 0,
      encrypted: false,
      crc: (flags & ChunkFlag.HAS_CRC32) !== 0 ? crc : undefined,
      batch: undefined,
      inflate: undefined,
    };
  }

  /** All of them in order. */
  *chunks(): Generator<BlobChunk> {
    for (let index = 0; index < this.chunkCount; index++) yield this.chunk(index);
  }

  chunkAtDecoded(offset: number): number {
    const next = this.#firstFrom(offset);
    if (next < this.chunkCount && this.#offsets[next] === offset) return next;
    if (next === 0) return 0;
    const { decodedOffset, size } = decodeChunkPlace(this.#bytes, this.entryOffset(next - 1));
    return decodedOffset + size > offset ? next - 1 : next;
  }

  /** Index of the chunk that begins at decoded offset `offset`; undefined if none does. */
  chunkNumber(offset: number): number | undefined {
    const index = this.#firstFrom(offset);
    return this.#offsets[index] === offset ? index : undefined;
  }

  /** What the bootstrap says of chunk `index`; the first place that says it. */
  entry(index: number): ChunkTableEntry {
    return decodeChunkTableEntry(this.#bytes, this.entryOffset(index));
  }

  /** Byte offset of that entry in the bootstrap. */
  entryOffset(index: number): number {
    const at = this.#entries[index];
    if (at === undefined) throw new Error(`chunk ${index} of ${this.chunkCount}`);
    return at;
  }

  /** Index of the first chunk at or behind decoded offset `offset`. */
  #firstFrom(offset: number): number {
    let low = 0;
    let high = this.#offsets.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#offsets[middle]! < offset) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** True if two entries agree in all but where in a file the chunk is. */
function sameChunk(bytes: Buffer, one: number, other: number): boolean {
  const a = decodeChunkTableEntry(bytes, one);
  const b = decodeChunkTableEntry(bytes, other);
  return (
    a.digest.equals(b.digest) &&
    a.size === b.size &&
    a.storedOffset === b.storedOffset &&
    a.storedSize === b.storedSize &&
    a.flags === b.flags &&
    a.crc === b.crc &&
    a.index === b.index
  );
}

/**
 * One list per blob, from all files of the image. Throws MALFORMED for entries outside the bootstrap, a chunk of a blob that does
 * not exist, files that overlap, and entries that disagree about a chunk.
 */
export function listChunks(image: V5Image, blobCount: number): ChunkList[] {
  const { bytes, name } = image;
  const files = filesWithChunks(image);
  const counts = new Uint32Array(blobCount);
  const eachEntry = (visit: (at: number, blobIndex: number) => void) => {
    for (const { start, count } of files) {
      for (let at = start; at < start + count * CHUNK_TABLE_ENTRY_SIZE; at += CHUNK_TABLE_ENTRY_SIZE)
        visit(at, chunkTableKey(bytes, at).blobIndex);
    }
  };
  eachEntry((at, blobIndex) => {
    if (blobIndex >= blobCount) throw malformed(name, 'chunk entry', at, `blob ${blobIndex} of ${blobCount}`);
    counts[blobIndex]!++;
  });
  const entries = Array.from(counts, (count) => new Uint32Array(count));
  counts.fill(0);
  eachEntry((at, blobIndex) => {
    entries[blobIndex]![counts[blobIndex]!++] = at;
  });
  return entries.map((list) => new ChunkList(bytes, list, name));
}

/** The chunk entries of every file; of one with several names once. */
function filesWithChunks(image: V5Image): { start: number; count: number }[] {
  const files: { start: number; count: number }[] = [];
  let total = 0;
  for (let index = 1; index <= recordCount(image); index++) {
    const file = fileChunks(image, index);
    if (!file) continue;
    files.push(file);
    total += file.count;
    // Records that lie in each other would make a small file cost much.
    if (total * CHUNK_TABLE_ENTRY_SIZE > image.bytes.length)
      throw malformed(image.name, `inode ${index}`, file.start, 'its chunks lie over those of other files');
  }
  return files;
}
