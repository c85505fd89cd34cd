/** Times count from 2000-01-01, in seconds after 1970: 31 bits of seconds last until 2068. */
const EPOCH = 946_684_800;
const START_UP = 2 ** 31;
const TIME_BITS = START_UP - 1;

/**
 * When each chunk of a blob was last used, and whether it belongs to the start of an image, in memory that threads share:
 * 4 bytes a chunk, seconds since 2000 below a bit for the start.
 */
export class ChunkUses {
  readonly #words: Uint32Array;

  /** `memory` has 4 bytes per chunk; zeros mean never. */
  constructor(memory: SharedArrayBuffer) {
    this.#words = new Uint32Array(memory);
  }

  /** Memory for `chunkCount` chunks, filled with what `ofBytes` says of them, if it has the right length. */
  static memory(chunkCount: number, ofBytes?: Buffer): SharedArrayBuffer {
    const memory = new SharedArrayBuffer(chunkCount * Uint32Array.BYTES_PER_ELEMENT);
    if (ofBytes?.length === memory.byteLength) ofBytes.copy(Buffer.from(memory));
    return memory;
  }

  /** Chunks `first` to `end`, which is not among them, are used now. */
  note(first: number, end = first + 1): void {
    const now = Math.floor(Date.now() / 1000) - EPOCH;
    for (let index = first; index < end; index++)
      this.#words[index] = (this.#words[index]! & START_UP) | (now & TIME_BITS);
  }

  /** Chunk `index` belongs to the start of an image: it is given back last. */
  markStartUp(index: number): void {
    this.#words[index]! |= START_UP;
  }

  isStartUp(index: number): boolean {
    return ((this.#words[index] ?? 0) & START_UP) !== 0;
  }

  /** Seconds since 1970; 0 if it never was. */
  last(index: number): number {
    return secondsOf(this.#words[index] ?? 0);
  }

  /** The latest of all, in seconds since 1970; 0 if none was ever used. */
  latest(): number {
    return this.#words.reduce((latest, word) => Math.max(latest, secondsOf(word)), 0);
  }
}

function secondsOf(word: number): number {
  const time = word & TIME_BITS;
  return time === 0 ? 0 : time + EPOCH;
}
