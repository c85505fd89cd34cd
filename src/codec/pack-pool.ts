import { availableParallelism } from 'node:os';
import Tinypool from 'tinypool';
import { type Compressor, DEFAULT_ZSTD_LEVEL } from './compressor.js';
import type { PackTask } from './pack-worker.js';
import { workerFile } from './worker-file.js';

export interface PackPoolOptions {
  /** Worker threads; default: one per core. */
  threads?: number;
}

export interface PackedUnit {
  /** What goes into the blob: compressed bytes, or the raw bytes where compression does not help. */
  stored: Buffer;
  compressed: boolean;
}

/**
 * Compresses chunks and batches in worker threads. Only compression goes there: it costs 4 ms per MiB at level 3, while
 * BLAKE3 and CRC-32C cost less than the message to a thread, so callers digest chunks themselves (`digest.ts`), drop the
 * ones they already have, and send the rest.
 */
export class PackPool {
  readonly #pool: Tinypool;
  readonly threads: number;

  constructor(options: PackPoolOptions = {}) {
    this.threads = options.threads ?? availableParallelism();
    this.#pool = new Tinypool({
      filename: workerFile('pack-worker'),
      minThreads: 1,
      maxThreads: this.threads,
      idleTimeout: 10_000,
    });
  }

  /**
   * Compresses `pieces` (at most 16 MiB together) as one unit. The pieces are copied to the worker and stay usable.
   * The result depends on the pieces, the compressor and the level only, never on timing.
   */
  async pack(
    pieces: Buffer[],
    options: { compressor: Compressor; level?: number; signal?: AbortSignal },
  ): Promise<PackedUnit> {
    const { compressor, level = DEFAULT_ZSTD_LEVEL, signal } = options;
    const packed = compressor === 'none' ? null : await this.#run(pieces, compressor, level, signal);
    if (packed === null) {
      return { stored: pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces), compressed: false };
    }
    return { stored: Buffer.from(packed.buffer, packed.byteOffset, packed.byteLength), compressed: true };
  }

  #run(
    pieces: Buffer[],
    compressor: Compressor,
    level: number,
    signal: AbortSignal | undefined,
  ): Promise<Uint8Array | null> {
    const raw = new Uint8Array(pieces.reduce((size, piece) => size + piece.length, 0));
    let offset = 0;
    for (const piece of pieces) {
      raw.set(piece, offset);
      offset += piece.length;
    }
    const task: PackTask = { raw, compressor, level };
    return this.#pool.run(task, { transferList: [raw.buffer], ...(signal && { signal }) });
  }

  /** Ends the threads. Units still being packed fail. */
  async close(): Promise<void> {
    await this.#pool.destroy();
  }
}
