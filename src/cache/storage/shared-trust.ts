import { closeSync, openSync, readSync } from 'node:fs';
import { ChunkPlaces } from '../chunk-places.js';
import { composeRead } from '../compose.js';
import { PieceReader, type SharedPieces } from '../pieces.js';
import { ChunkUses } from '../quota/chunk-uses.js';
import { Bitmap, bitmapSize } from './bitmap.js';

/** What another thread of this process needs to read, by itself, the chunks that a view of a blob trusts. */
export interface SharedBlob {
  /** The data file, as this process has it open. */
  fd: number;
  /** A bit per chunk that the view trusts. */
  bits: SharedArrayBuffer;
  /** `ChunkPlaces` of the blob. */
  places: SharedArrayBuffer;
  /** Two 32-bit counters: how often trust was withdrawn, and chunks that other threads have read. */
  counters: SharedArrayBuffer;
  /** When each chunk was last used: `ChunkUses`. */
  uses: SharedArrayBuffer;
  /** What of its chunks a start-up pack has. */
  pieces?: SharedPieces | undefined;
}

const WITHDRAWN = 0;
const HITS = 1;

/** Which chunks one view of a blob trusts, in memory that other threads see. Only its own thread changes it. */
export class SharedTrust {
  readonly #bits: SharedArrayBuffer;
  readonly #bitmap: Bitmap;
  readonly #counters = new Int32Array(new SharedArrayBuffer(8));

  constructor(chunkCount: number) {
    this.#bits = new SharedArrayBuffer(bitmapSize(chunkCount));
    this.#bitmap = new Bitmap(chunkCount, Buffer.from(this.#bits));
  }

  has(index: number): boolean {
    return this.#bitmap.has(index);
  }

  /** The chunk's bytes are in the data file and stay there until `withdraw`. */
  give(index: number): void {
    this.#bitmap.set(index);
  }

  /** Must come before the chunk's bytes change in the data file: who reads them just now finds out that they may be others. */
  withdraw(index: number): void {
    this.#bitmap.clear(index);
    Atomics.add(this.#counters, WITHDRAWN, 1);
  }

  /** How often trust was withdrawn: a read during which this changed may have got anything. */
  get withdrawals(): number {
    return this.#counters[WITHDRAWN]!;
  }

  /** Chunks that other threads have read since this was asked last. */
  takeHits(): number {
    return Atomics.exchange(this.#counters, HITS, 0);
  }

  share(fd: number, places: SharedArrayBuffer, uses: SharedArrayBuffer): SharedBlob {
    return { fd, places, uses, bits: this.#bits, counters: this.#counters.buffer as SharedArrayBuffer };
  }
}

/** Reads trusted chunks of a blob in a thread that shares no more than memory with the one that manages the cache. */
export class TrustedReader {
  /** A descriptor of its own: the other thread may close its one at any time. */
  readonly #fd: number;
  readonly #bits: Buffer;
  readonly #places: ChunkPlaces;
  readonly #counters: Int32Array;
  readonly #uses: ChunkUses;
  readonly #pieces: { fd: number; reader: PieceReader } | undefined;

  constructor({ fd, bits, places, counters, uses, pieces }: SharedBlob) {
    this.#fd = openSync(`/proc/self/fd/${fd}`, 'r');
    this.#pieces = pieces && openPieces(pieces);
    this.#bits = Buffer.from(bits);
    this.#places = new ChunkPlaces(places);
    this.#counters = new Int32Array(counters);
    this.#uses = new ChunkUses(uses);
  }

  /**
   * Fills `target` with decoded bytes from `offset`; gaps between chunks are zeros. False if one of the chunks is not
   * trusted and what is asked for is not among the pieces either, or if one was not trusted any more when its bytes had been
   * read; then `target` holds anything.
   */
  readLocal(offset: number, target: Buffer): boolean {
    const places = this.#places;
    const first = places.find(offset);
    let next = first;
    const withdrawn = Atomics.load(this.#counters, WITHDRAWN);
    for (; next < places.count && places.offset(next) < offset + target.length; next++)
      if (!this.#isTrusted(next)) return this.#compose(offset, target, first);
    try {
      if (readSync(this.#fd, target, 0, target.length, offset) !== target.length) return false;
    } catch {
      return false;
    }
    if (Atomics.load(this.#counters, WITHDRAWN) !== withdrawn) return false;
    this.#fillGaps(offset, target, first);
    Atomics.add(this.#counters, HITS, next - first);
    this.#uses.note(first, next);
    return true;
  }

  /** Closes its descriptors. */
  close(): void {
    closeSync(this.#fd);
    if (this.#pieces !== undefined) closeSync(this.#pieces.fd);
  }

  #compose(offset: number, target: Buffer, first: number): boolean {
    const pieces = this.#pieces;
    if (pieces === undefined) return false;
    const withdrawn = Atomics.load(this.#counters, WITHDRAWN);
    const places = this.#places;
    try {
      const done = composeRead(offset, target, first, {
        count: places.count,
        offset: (index) => places.offset(index),
        size: (index) => places.size(index),
        isLocal: (index) => this.#isTrusted(index),
        fromFile: (at, part) => readSync(this.#fd, part, 0, part.length, at) === part.length,
        fromPieces: (at, part) => pieces.reader.read(at, part),
      });
      if (!done || Atomics.load(this.#counters, WITHDRAWN) !== withdrawn) return false;
    } catch {
      return false;
    }
    this.#fillGaps(offset, target, first);
    return true;
  }

  #isTrusted(index: number): boolean {
    return ((this.#bits[index >> 3] ?? 0) & (1 << (index & 7))) !== 0;
  }

  #fillGaps(offset: number, target: Buffer, first: number): void {
    const places = this.#places;
    let done = 0;
    for (let index = first; done < target.length; index++) {
      const start = index < places.count ? places.offset(index) - offset : target.length;
      if (start > done) target.fill(0, done, start);
      if (start >= target.length) return;
      done = start + places.size(index);
    }
  }
}

/** The pieces through a descriptor of its own. */
function openPieces(shared: SharedPieces): { fd: number; reader: PieceReader } {
  const fd = openSync(`/proc/self/fd/${shared.fd}`, 'r');
  return { fd, reader: new PieceReader({ ...shared, fd }) };
}
