const FIRST_SIZE = 4096;

/** Bytes that are appended piece by piece; takes at most twice the room. */
export class GrowingBuffer {
  #bytes = Buffer.alloc(FIRST_SIZE);
  #length = 0;

  /** Makes room for `size` zero bytes at the end and lets `write` fill them in. */
  append(size: number, write: (target: Buffer, offset: number) => void): void {
    if (this.#length + size > this.#bytes.length) {
      const larger = Buffer.alloc(Math.max(2 * this.#bytes.length, this.#length + size));
      this.#bytes.copy(larger, 0, 0, this.#length);
      this.#bytes = larger;
    }
    write(this.#bytes, this.#length);
    this.#length += size;
  }

  /** What has been appended. A view: valid until the next `append`. */
  get bytes(): Buffer {
    return this.#bytes.subarray(0, this.#length);
  }
}
