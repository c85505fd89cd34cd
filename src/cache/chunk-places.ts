import type { BlobLayout } from './layout.js';

/** Bytes for one chunk: its decoded offset as a double, its size as an unsigned 32-bit number. */
const OFFSET_BYTES = 8;
const SIZE_BYTES = 4;
/** Bytes that describe the place of one chunk. */
export const PLACE_SIZE = OFFSET_BYTES + SIZE_BYTES;

/** Not held here: of images that share a blob, one layout's are enough, and the store holds them. */
const described = new WeakMap<BlobLayout, WeakRef<SharedArrayBuffer>>();

/** Where the chunks of a blob lie in decoded space, ascending, in memory that threads can share: 12 bytes a chunk. */
export class ChunkPlaces {
  readonly count: number;
  readonly #offsets: Float64Array;
  readonly #sizes: Uint32Array;

  /** Reads what `describe` made. */
  constructor(memory: SharedArrayBuffer) {
    this.count = memory.byteLength / PLACE_SIZE;
    this.#offsets = new Float64Array(memory, 0, this.count);
    this.#sizes = new Uint32Array(memory, this.count * OFFSET_BYTES, this.count);
  }

  /** The places of the chunks of `layout`, which nobody changes. */
  static describe(layout: BlobLayout): SharedArrayBuffer {
    const known = described.get(layout)?.deref();
    if (known) return known;
    const { chunkCount } = layout;
    const memory = new SharedArrayBuffer(chunkCount * PLACE_SIZE);
    const places = new ChunkPlaces(memory);
    if (layout.readPlaces !== undefined) layout.readPlaces(places.#offsets, places.#sizes);
    else places.#readChunks(layout);
    described.set(layout, new WeakRef(memory));
    return memory;
  }

  #readChunks(layout: BlobLayout): void {
    for (let index = 0; index < layout.chunkCount; index++) {
      const { decodedOffset, size } = layout.chunk(index);
      this.#offsets[index] = decodedOffset;
      this.#sizes[index] = size;
    }
  }

  offset(index: number): number {
    return this.#offsets[index]!;
  }

  size(index: number): number {
    return this.#sizes[index]!;
  }

  /** The chunk that holds decoded byte `offset`, or the next one behind a gap, or `count`. */
  find(offset: number): number {
    let low = 0;
    let high = this.count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#offsets[middle]! + this.#sizes[middle]! <= offset) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
