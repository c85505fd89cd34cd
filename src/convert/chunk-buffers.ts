/**
 * Buffers of one size that are used again: fresh ones cost a page fault for every 4 KiB and make the garbage collector run,
 * together a tenth of the time of a conversion.
 */
export class ChunkBuffers {
  readonly #size: number;
  readonly #free: Buffer[] = [];
  readonly #lent = new Map<ArrayBufferLike, Buffer>();

  constructor(size: number) {
    this.#size = size;
  }

  /** A buffer of the full size, with any content. */
  take(): Buffer {
    const buffer = this.#free.pop() ?? Buffer.allocUnsafeSlow(this.#size);
    this.#lent.set(buffer.buffer, buffer);
    return buffer;
  }

  /** Takes back the buffer that `bytes` is a part of. Nothing happens if it came from somewhere else. */
  give(bytes: Buffer): void {
    const buffer = this.#lent.get(bytes.buffer);
    if (buffer && this.#lent.delete(bytes.buffer)) this.#free.push(buffer);
  }
}
