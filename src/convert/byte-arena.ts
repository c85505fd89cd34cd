const SLAB_SIZE = 64 << 10;

/**
 * Keeps many small byte strings that live as long as an image's tree. Node's own pool would mix them with passing ones, and
 * one name that is kept keeps 8 KiB alive.
 */
export class ByteArena {
  #slab = Buffer.alloc(0);
  #used = 0;

  /** A copy of `bytes` (at most 64 KiB) that stays as it is. */
  keep(bytes: Uint8Array): Buffer {
    if (this.#used + bytes.length > this.#slab.length) {
      this.#slab = Buffer.allocUnsafeSlow(SLAB_SIZE);
      this.#used = 0;
    }
    this.#slab.set(bytes, this.#used);
    this.#used += bytes.length;
    return this.#slab.subarray(this.#used - bytes.length, this.#used);
  }
}
