import { DIGEST_SIZE } from '../codec/digest.js';
import { readU64, writeU64 } from './binary.js';
import type { BlobRef, Chunk } from './tree.js';

/** One row: digest, then numbers of 8 and of 4 bytes. */
const DECODED_OFFSET = DIGEST_SIZE;
const STORED_OFFSET = DECODED_OFFSET + 8;
const SIZE = STORED_OFFSET + 8;
const STORED_SIZE = SIZE + 4;
const CRC = STORED_SIZE + 4;
const FLAGS = CRC + 4;
const ROW_SIZE = FLAGS + 4;

const ROWS_PER_SLAB = 1024;

/**
 * The chunks of a blob that is being made, outside of the JavaScript heap: 64 bytes for each, and a small object that
 * reads them. An image may have millions, and keeps them until its bootstrap is written.
 */
export class PlacedChunks {
  readonly blob: BlobRef;
  readonly #slabs: Buffer[] = [];
  #count = 0;

  constructor(blob: BlobRef) {
    this.blob = blob;
  }

  get count(): number {
    return this.#count;
  }

  /** Keeps a copy of the next chunk; its index is the number of chunks before. */
  add(chunk: Omit<Chunk, 'blob' | 'index'>): Chunk {
    const index = this.#count++;
    if (index % ROWS_PER_SLAB === 0) this.#slabs.push(Buffer.allocUnsafeSlow(ROWS_PER_SLAB * ROW_SIZE));
    const slab = this.slab(index);
    const at = this.offset(index);
    chunk.digest.copy(slab, at, 0, DIGEST_SIZE);
    writeU64(slab, chunk.decodedOffset, at + DECODED_OFFSET);
    writeU64(slab, chunk.storedOffset, at + STORED_OFFSET);
    slab.writeUInt32LE(chunk.size, at + SIZE);
    slab.writeUInt32LE(chunk.storedSize, at + STORED_SIZE);
    slab.writeUInt32LE(chunk.crc, at + CRC);
    slab.writeUInt32LE(chunk.flags, at + FLAGS);
    return new PlacedChunk(this, index);
  }

  /** The digests of all chunks, one behind the other. */
  digests(): Buffer {
    const all = Buffer.allocUnsafe(this.#count * DIGEST_SIZE);
    for (let i = 0; i < this.#count; i++) {
      const from = this.offset(i);
      this.slab(i).copy(all, i * DIGEST_SIZE, from, from + DIGEST_SIZE);
    }
    return all;
  }

  /** The buffer that holds the row of a chunk, and the row's offset there. */
  slab(index: number): Buffer {
    return this.#slabs[Math.floor(index / ROWS_PER_SLAB)]!;
  }
  offset(index: number): number {
    return (index % ROWS_PER_SLAB) * ROW_SIZE;
  }
}

/** A chunk whose properties are read from its row. */
class PlacedChunk implements Chunk {
  readonly index: number;
  readonly #rows: PlacedChunks;

  constructor(rows: PlacedChunks, index: number) {
    this.#rows = rows;
    this.index = index;
  }

  get blob(): BlobRef {
    return this.#rows.blob;
  }

  /** A view. */
  get digest(): Buffer {
    const at = this.#rows.offset(this.index);
    return this.#rows.slab(this.index).subarray(at, at + DIGEST_SIZE);
  }

  get decodedOffset(): number {
    return readU64(this.#rows.slab(this.index), this.#rows.offset(this.index) + DECODED_OFFSET);
  }

  get storedOffset(): number {
    return readU64(this.#rows.slab(this.index), this.#rows.offset(this.index) + STORED_OFFSET);
  }

  get size(): number {
    return this.#u32(SIZE);
  }

  get storedSize(): number {
    return this.#u32(STORED_SIZE);
  }

  get crc(): number {
    return this.#u32(CRC);
  }

  get flags(): number {
    return this.#u32(FLAGS);
  }

  #u32(field: number): number {
    return this.#rows.slab(this.index).readUInt32LE(this.#rows.offset(this.index) + field);
  }
}
