import type { CacheStore } from '../store.js';
import { diskUse, evictChunks } from './evict.js';

/** Above this part of the limit chunks are given back, down to that part. */
const HIGH_WATERMARK = 0.95;
const LOW_WATERMARK = 0.85;

export interface QuotaOptions {
  /** Bytes that the cache may have on the disk. */
  limit: number;
  /** Called before anything is given back. */
  onFull?: (() => Promise<void>) | undefined;
  onError: (error: unknown) => void;
}

/**
 * Keeps a cache below its limit: when it comes near, the least recently used chunks go in the background. What arrives while
 * there is no room is served, but not kept.
 */
export class Quota {
  readonly limit: number;
  readonly #store: CacheStore;
  readonly #onFull: () => Promise<void>;
  readonly #onError: (error: unknown) => void;
  #used = 0;
  #running: Promise<void> | undefined;
  #closed = false;

  constructor(store: CacheStore, { limit, onFull = async () => {}, onError }: QuotaOptions) {
    this.#store = store;
    this.limit = limit;
    this.#onFull = onFull;
    this.#onError = onError;
  }

  /** Bytes on the disk, as far as is known. */
  get used(): number {
    return this.#used;
  }

  /** Looks what is there. Call before anything else. */
  async start(): Promise<void> {
    this.#used = await diskUse(this.#store);
    this.#look();
  }

  /** Takes room for `bytes` that are about to be written; false if there is none. */
  take(bytes: number): boolean {
    if (this.#used + bytes > this.limit) {
      // What can never fit must not drive everything else out.
      if (bytes <= this.limit * LOW_WATERMARK) this.#look(bytes);
      return false;
    }
    this.#used += bytes;
    this.#look();
    return true;
  }

  /** True if `bytes` more would have nothing given back for them. */
  fits(bytes: number): boolean {
    return this.#used + bytes <= this.limit * HIGH_WATERMARK;
  }

  /** Resolves when nothing is being given back. */
  async idle(): Promise<void> {
    while (this.#running) await this.#running;
  }

  /** Ends what runs in the background. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.idle();
  }

  /** Makes room, for what is there and so many bytes more, if there is none. */
  #look(more = 0): void {
    if (this.#closed || this.#running || this.#used + more <= this.limit * HIGH_WATERMARK) return;
    this.#running = this.#makeRoom(more)
      .catch(this.#onError)
      .finally(() => {
        this.#running = undefined;
      });
  }

  async #makeRoom(more: number): Promise<void> {
    // Counted anew: what was taken may not have been written, or twice.
    this.#used = await diskUse(this.#store);
    if (this.#used + more <= this.limit * HIGH_WATERMARK) return;
    await this.#onFull();
    await evictChunks(this.#store, this.#used + more - Math.floor(this.limit * LOW_WATERMARK));
    this.#used = await diskUse(this.#store);
  }
}
