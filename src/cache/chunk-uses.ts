/** When each chunk of a blob was last used, in memory that threads share: 4 bytes a chunk, seconds since 1970. */
export class ChunkUses {
  readonly #times: Uint32Array;

  /** `memory` has 4 bytes per chunk; zeros mean never. */
  constructor(memory: SharedArrayBuffer) {
    this.#times = new Uint32Array(memory);
  }

  /** Memory for `chunkCount` chunks, filled with what `ofBytes` says of them, if it has the right length. */
  static memory(chunkCount: number, ofBytes?: Buffer): SharedArrayBuffer {
    const memory = new SharedArrayBuffer(chunkCount * Uint32Array.BYTES_PER_ELEMENT);
    if (ofBytes?.length === memory.byteLength) ofBytes.copy(Buffer.from(memory));
    return memory;
  }

  /** Chunks `first` to `end`, which is not among them, are used now. */
  note(first: number, end = first + 1): void {
    this.#times.fill(Date.now() / 1000, first, end);
  }

  /** Seconds since 1970; 0 if it never was. */
  last(index: number): number {
    return this.#times[index] ?? 0;
  }

  /** The latest of all, in seconds since 1970; 0 if none was ever used. */
  latest(): number {
    return this.#times.reduce((latest, time) => Math.max(latest, time), 0);
  }
}
