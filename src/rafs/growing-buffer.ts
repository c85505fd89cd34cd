const SLAB_SIZE = 64 << 10;

/** Bytes that are appended piece by piece. It never copies what it has, and takes at most one slab more than that. */
export class GrowingBuffer {
  readonly #full: Buffer[] = [];
  #slab = Buffer.alloc(0);
  #used = 0;
  #length = 0;

  /** Bytes that have been appended. */
  get length(): number {
    return this.#length;
  }

  /** Makes room for `size` zero bytes at the end, at most 64 KiB, and lets `write` fill them in. */
  append(size: number, write: (target: Buffer, offset: number) => void): void {
    if (this.#used + size > this.#slab.length) {
      this.#full.push(this.#slab.subarray(0, this.#used));
      this.#slab = Buffer.alloc(SLAB_SIZE);
      this.#used = 0;
    }
    write(this.#slab, this.#used);
    this.#used += size;
    this.#length += size;
  }

  /** What has been appended, in pieces. Views: valid until the next `append`. */
  get pieces(): Buffer[] {
    return [...this.#full, this.#slab.subarray(0, this.#used)];
  }
}
