import { compress } from '../codec/compressor.js';
import { chunkDigest } from '../codec/digest.js';
import { RafterError } from '../errors.js';
import { encodeTable, MAX_BLOBS, MAX_PIECES, MAX_UNIT_SIZE, MAX_UNITS, type TableParts } from './table.js';

/** A pack is made once and read often: the strongest level that decodes in the memory of a lower one. */
const UNIT_LEVEL = 19;

/** A finished pack. */
export interface WrittenPack {
  /** The file, in parts. The first is header and table. */
  parts: Buffer[];
  size: number;
  /** Bytes of the pieces. */
  decodedSize: number;
  pieceCount: number;
}

/** Makes a start-up pack of pieces in the order in which they are added. Same pieces, same bytes. */
export class PackWriter {
  readonly #readAhead: number;
  readonly #blobs: string[] = [];
  readonly #units: TableParts['units'][number][] = [];
  readonly #pieces: TableParts['pieces'][number][] = [];
  readonly #stored: Buffer[] = [];
  readonly #unit = Buffer.allocUnsafe(MAX_UNIT_SIZE);
  #used = 0;
  /** Pieces of the units that are finished. */
  #packed = 0;
  #decodedSize = 0;

  /** `readAhead`: KiB of kernel read-ahead that the reads were recorded with; 0 if that is not known. */
  constructor({ readAhead = 0 }: { readAhead?: number } = {}) {
    this.#readAhead = readAhead;
  }

  /**
   * Adds the decoded bytes of blob `id` from `offset` on. No byte may be added twice. LIMIT_EXCEEDED for more than a pack can hold.
   */
  add(id: string, offset: number, bytes: Buffer): void {
    const blob = this.#blobNumber(id);
    for (let done = 0; done < bytes.length; ) {
      if (this.#pieces.length === MAX_PIECES)
        throw new RafterError('LIMIT_EXCEEDED', `a start-up pack of more than ${MAX_PIECES} pieces`);
      const length = Math.min(bytes.length - done, MAX_UNIT_SIZE - this.#used);
      bytes.copy(this.#unit, this.#used, done, done + length);
      this.#pieces.push({ blob, offset: offset + done, length });
      this.#used += length;
      done += length;
      if (this.#used === MAX_UNIT_SIZE) this.#endUnit();
    }
  }

  /** The pack. Nothing may be added afterwards. */
  finish(): WrittenPack {
    if (this.#used > 0) this.#endUnit();
    const head = encodeTable({
      readAhead: this.#readAhead,
      blobs: this.#blobs,
      units: this.#units,
      pieces: this.#pieces,
    });
    const parts = [head, ...this.#stored];
    return {
      parts,
      size: parts.reduce((sum, { length }) => sum + length, 0),
      decodedSize: this.#decodedSize,
      pieceCount: this.#pieces.length,
    };
  }

  #blobNumber(id: string): number {
    const known = this.#blobs.indexOf(id);
    if (known >= 0) return known;
    if (this.#blobs.length === MAX_BLOBS)
      throw new RafterError('LIMIT_EXCEEDED', `a start-up pack of more than ${MAX_BLOBS} blobs`);
    return this.#blobs.push(id) - 1;
  }

  #endUnit(): void {
    if (this.#units.length === MAX_UNITS)
      throw new RafterError('LIMIT_EXCEEDED', `a start-up pack of more than ${MAX_UNITS} MiB`);
    const stored = compress('zstd', this.#unit.subarray(0, this.#used), UNIT_LEVEL);
    this.#units.push({
      storedSize: stored.length,
      decodedSize: this.#used,
      pieceCount: this.#pieces.length - this.#packed,
      digest: chunkDigest('blake3', stored),
    });
    this.#stored.push(stored);
    this.#packed = this.#pieces.length;
    this.#decodedSize += this.#used;
    this.#used = 0;
  }
}
