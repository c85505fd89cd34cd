import { sharedBuffer } from '../codec/shared-buffer.js';

/**
 * Buffers of one size, shared with the threads that compress, that are used again: fresh ones cost a page fault for every
 * 4 KiB and make the garbage collector run.
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
    const buffer = this.#free.pop() ?? sharedBuffer(this.#size);
    this.#lent.set(buffer.buffer, buffer);
    return buffer;
  }

  /** True if `bytes` is a part of a buffer that is lent at the time. */
  owns(bytes: Buffer): boolean {
    return this.#lent.has(bytes.buffer);
  }

  /** Takes back the buffer that `bytes` is a part of. Nothing happens if it came from somewhere else. */
  give(bytes: Buffer): void {
    const buffer = this.#lent.get(bytes.buffer);
    if (buffer && this.#lent.delete(bytes.buffer)) this.#free.push(buffer);
  }
}

/** Buffers for chunks and for batches. */
export interface PackBuffers {
  chunks: ChunkBuffers;
  batches: ChunkBuffers;
}

/** The buffers of one image: those that a layer leaves free are the next one's. Sizes in bytes. */
export function packBuffers({ chunkSize, batchSize }: { chunkSize: number; batchSize: number }): PackBuffers {
  return { chunks: new ChunkBuffers(chunkSize), batches: new ChunkBuffers(batchSize) };
}
