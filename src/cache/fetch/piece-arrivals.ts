/** A stream that gave nothing for so long, in milliseconds, is not waited for. */
const STALL_MS = 500;
/** The same where chunks are dear: peers give a stream in pieces of several MiB, and each only when it is whole. */
const DEAR_STALL_MS = 5000;

/** What asking for a chunk costs. */
export interface ChunkCost {
  /** Its stored bytes. */
  chunkBytes: number;
  /** Just now it costs many times as much as it has, and as long. */
  isDear: () => boolean;
}

export interface ArrivalOptions {
  /** Bytes of the stream up to the end of each unit. */
  ends: readonly number[];
  /** When the stream was asked for, in milliseconds of `performance.now()`. */
  askedAt: number;
}

/**
 * How far the stream of a start-up pack is, for all threads, and for those that wait for something in it. Units arrive in order.
 */
export class PieceArrivals {
  /** One 32-bit counter: units that have arrived. */
  readonly arrived = new SharedArrayBuffer(4);
  readonly #counter = new Int32Array(this.arrived);
  readonly #ends: readonly number[];
  readonly #askedAt: number;
  readonly #waiters = new Set<() => void>();
  #received = 0;
  #firstAt: number | undefined;
  #latestAt: number;
  #ended = false;

  constructor({ ends, askedAt }: ArrivalOptions) {
    this.#ends = ends;
    this.#askedAt = askedAt;
    this.#latestAt = performance.now();
  }

  /** Units that have arrived. */
  get count(): number {
    return this.#counter[0]!;
  }

  /** Notes that of the stream `bytes` bytes have come so far. */
  noteBytes(bytes: number): void {
    this.#latestAt = performance.now();
    this.#firstAt ??= this.#latestAt;
    this.#received = bytes;
  }

  /** The next unit is in the file: everybody may read it. */
  publish(): void {
    Atomics.add(this.#counter, 0, 1);
    this.#wake();
  }

  /** Nothing more will come: it is all here, or it failed. */
  end(): void {
    this.#ended = true;
    this.#wake();
  }

  /**
   * Waits for `unit` as long as that is likely sooner than asking for a chunk, or as the stream goes on where that is dear. True when it
   * has arrived; false if somebody who needs it should ask. Ends with false, too, when `signal` is aborted.
   */
  async wait(unit: number, cost: ChunkCost, signal: AbortSignal): Promise<boolean> {
    while (unit >= this.count) {
      if (signal.aborted || !this.#isWorthWaiting(unit, cost)) return false;
      await this.#nextEvent(signal);
    }
    return true;
  }

  #isWorthWaiting(unit: number, { chunkBytes, isDear }: ChunkCost): boolean {
    const now = performance.now();
    const end = this.#ends[unit];
    if (this.#ended || end === undefined) return false;
    const still = now - this.#latestAt;
    if (isDear()) return still < DEAR_STALL_MS;
    if (still >= STALL_MS) return false;
    if (this.#firstAt === undefined) return true;
    // The chunk would come after the same delay that the stream had, at the rate that the stream has.
    const rate = this.#received / Math.max(now - this.#firstAt, 1);
    const delay = this.#firstAt - this.#askedAt;
    return end - this.#received <= delay * rate + chunkBytes;
  }

  /** Resolves when a unit arrives or the stream ends, when it may have stalled, and when `signal` is aborted. */
  #nextEvent(signal: AbortSignal): Promise<void> {
    const left = this.#latestAt + STALL_MS - performance.now();
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        signal.removeEventListener('abort', done);
        this.#waiters.delete(done);
        resolve();
      };
      // A process that was kept from running looks first whether something has come meanwhile.
      const timer = setTimeout(() => setImmediate(done), left > 0 ? left : STALL_MS);
      signal.addEventListener('abort', done, { once: true });
      this.#waiters.add(done);
    });
  }

  #wake(): void {
    for (const wake of [...this.#waiters]) wake();
  }
}
