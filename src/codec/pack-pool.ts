import { setMaxListeners } from 'node:events';
import { availableParallelism } from 'node:os';
import type { Tinypool } from 'tinypool';
import type { Compressor } from './compressor.js';
import type { PackTask } from './pack-worker.js';
import { isShared } from './shared-buffer.js';
import { type UnpackedLayer, UnpackThread } from './unpack-thread.js';
import { workerFile } from './worker-file.js';

export interface PackPoolOptions {
  /** Worker threads that compress; default: one per core. */
  threads?: number;
}

export interface PackedUnit {
  /** What goes into the blob: compressed bytes, or the raw bytes where compression does not help. */
  stored: Buffer;
  compressed: boolean;
}

/**
 * The threads of a conversion: some compress chunks and batches, others decompress layers. What costs less than the message to a
 * thread stays with the caller: BLAKE3 and CRC-32C of a chunk.
 */
export class PackPool {
  readonly threads: number;
  #packing: Promise<Tinypool> | undefined;
  readonly #unpacking: UnpackThread[] = [];
  #isClosed = false;

  constructor(options: PackPoolOptions = {}) {
    this.threads = options.threads ?? availableParallelism();
    this.#packing = startPacking(this.threads);
  }

  /**
   * Compresses `raw` (at most 16 MiB, a part of a `sharedBuffer`) as one unit, in its place: `stored` is a part of `raw`, whose
   * bytes are otherwise lost. Without a level it goes by the bytes. The result depends on these, the compressor and the level only,
   * never on timing.
   */
  async pack(
    raw: Buffer,
    options: { compressor: Compressor; level?: number | undefined; signal?: AbortSignal },
  ): Promise<PackedUnit> {
    const { compressor, level, signal } = options;
    if (compressor === 'none') return { stored: raw, compressed: false };
    if (!isShared(raw)) throw new Error('a unit to pack must be in shared memory');
    const task: PackTask = { raw, compressor, level };
    // Every unit that waits listens for the abort.
    if (signal) setMaxListeners(0, signal);
    this.#throwIfClosed();
    this.#packing ??= startPacking(this.threads);
    const size: number = await (await this.#packing).run(task, signal && { signal });
    return size === 0
      ? { stored: raw, compressed: false }
      : { stored: raw.subarray(0, size), compressed: true };
  }

  /**
   * Begins to decompress and hash a layer in the thread that has least to do (see `UnpackThread`). There is one for every two that
   * compress, which is the harder work.
   */
  unpack(...layer: Parameters<UnpackThread['unpack']>): UnpackedLayer {
    this.#throwIfClosed();
    let thread = this.#unpacking.toSorted((a, b) => a.load - b.load)[0];
    if (thread === undefined || (thread.load > 0 && this.#unpacking.length < this.threads / 2)) {
      thread = new UnpackThread();
      this.#unpacking.push(thread);
    }
    return thread.unpack(...layer);
  }

  /**
   * Ends the threads, which have some 50 MB of memory. Units still being packed and layers still being unpacked fail; later ones
   * start threads again.
   */
  async rest(): Promise<void> {
    const packing = this.#packing;
    this.#packing = undefined;
    await Promise.all([
      packing?.then((pool) => pool.destroy()),
      ...this.#unpacking.splice(0).map((thread) => thread.close()),
    ]);
  }

  /** As `rest`, for good: later units and layers are refused, so that no thread keeps the process alive. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.rest();
  }

  #throwIfClosed(): void {
    if (this.#isClosed) throw new Error('the threads of the conversion have ended');
  }
}

async function startPacking(threads: number): Promise<Tinypool> {
  const { Tinypool } = await import('tinypool');
  return new Tinypool({
    filename: workerFile('pack-worker'),
    minThreads: 1,
    maxThreads: threads,
    idleTimeout: 10_000,
  });
}
