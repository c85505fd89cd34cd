/**
 * Room for one piece of data at a time. Large buffers that are dropped at once stay in memory until V8 looks for them, which
 * may take hundreds of MB.
 */
export class Scratch {
  #bytes = Buffer.alloc(0);

  /** `size` bytes of any content, which are the caller's until the next call. */
  take(size: number): Buffer {
    if (this.#bytes.length < size) this.#bytes = Buffer.allocUnsafeSlow(size);
    return this.#bytes.subarray(0, size);
  }
}
