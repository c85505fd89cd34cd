import { setImmediate as nextTurn } from 'node:timers/promises';
import type { TouchSource } from '../trace/trace.js';
import type { BlobBytes } from './blob-bytes.js';
import type { BlobPieces } from './blob-pieces.js';
import { chunksIn, endOf, fillGaps, localRuns, placeChunk } from './chunk-runs.js';
import type { FetchClass } from './fetch/fetch-class.js';
import { type Demand, interrupted, type ObtainOptions } from './fetch/pending-unit.js';
import { ReadAhead } from './fetch/read-ahead.js';
import { RunningWork } from './fetch/running-work.js';
import type { BlobLayout, ChunkInfo } from './layout.js';
import { recheckSuspects } from './recheck.js';
import type { CacheStats } from './stats.js';
import { Extent } from './storage/extent.js';
import type { SharedFiles } from './storage/shared-files.js';
import type { SharedBlob, SharedTrust } from './storage/shared-trust.js';

/**
 * One image's view of one blob, in decoded address space. All views of a blob share its files and its fetches, but each
 * believes only chunks that were verified against the digests of its own image.
 */
export class BlobCache {
  readonly layout: BlobLayout;
  readonly #demand: Demand;
  readonly #shared: SharedFiles;
  /** Chunks known to be in the storage and to match `layout`. */
  readonly #trust: SharedTrust | undefined;
  readonly #work = new RunningWork();
  #pieces: BlobPieces | undefined;
  readonly #extent: Extent;
  readonly #ahead: ReadAhead;
  #closing: Promise<void> | undefined;

  constructor(shared: SharedFiles, layout: BlobLayout, bytes: BlobBytes) {
    this.#shared = shared;
    this.layout = layout;
    this.#demand = { layout, bytes };
    this.#trust = shared.storage?.openTrust();
    this.#extent = new Extent(layout);
    this.#ahead = new ReadAhead(layout, (indices) => this.prefetch(indices, { class: 'readahead' }));
  }

  /** Counters of the blob, of all its views together. */
  get stats(): Readonly<CacheStats> {
    this.noteHits();
    return this.#shared.stats;
  }

  /** Counts what other threads have read meanwhile. */
  noteHits(): void {
    this.#shared.stats.hits += this.#trust?.takeHits() ?? 0;
  }

  /**
   * Looks which chunks are here and verified, all at once. True if that is every chunk that the image uses. The store
   * calls it, so that other threads can read them from the beginning.
   */
  async findLocal(): Promise<boolean> {
    const { storage } = this.#shared;
    if (!storage || !this.#trust) return false;
    const held = await storage.findHeld((index) => this.layout.chunkDigest(index));
    // One that is not there any more was given up just now.
    for (const index of held) if (storage.has(index)) this.#trust.give(index);
    return this.isComplete;
  }

  /** True if every chunk that the image uses is in the data file, verified. */
  get isComplete(): boolean {
    const { chunkCount } = this.layout;
    for (let index = 0; index < chunkCount; index++)
      if (!this.#trust?.has(index) && this.layout.chunkDigest(index) !== undefined) return false;
    return this.#trust !== undefined;
  }

  /** True if chunk `index` is in the data file, verified. */
  has(index: number): boolean {
    if (this.#trust?.has(index)) return true;
    const digest = this.layout.chunkDigest(index);
    return digest !== undefined && (this.#shared.storage?.holds(index, digest) ?? false);
  }

  /** Decoded bytes of the chunks that the image uses, and of those among them that are on the disk. */
  get extent(): { bytes: number; localBytes: number } {
    return this.#extent.measure((index) => this.#shared.storage?.has(index) ?? false);
  }

  /** What other threads need to read what is here; undefined if nothing is kept on disk. */
  share(): SharedBlob | undefined {
    const shared = this.#trust && this.#shared.storage?.share(this.#trust);
    return shared && { ...shared, pieces: this.#pieces?.shared };
  }

  /** Lets reads of chunks that are not here be answered from `pieces`, where those have what is asked for. */
  attachPieces(pieces: BlobPieces): void {
    this.#pieces = pieces;
  }

  /**
   * The data file itself, as this process has it open, for somebody who reads it without asking: nothing in it changes
   * until all views of the blob are released. Undefined if it is not complete.
   */
  lend(): { fd: number } | undefined {
    if (!this.isComplete) return undefined;
    this.#shared.storage?.guard();
    return this.share();
  }

  /** Says that the kernel reads the data file since the time of another process. */
  noteLent(): void {
    this.#shared.storage?.guard();
  }

  /**
   * Fills `target` with decoded bytes from `offset`; gaps between chunks are zeros. Fetches what is not here. `target`
   * must not be touched until the promise settles, and is not written to afterwards. Returns what had to be waited for.
   * Throws DIGEST_MISMATCH for a chunk that was wrong twice, INTERRUPTED when `signal` is aborted or the cache is released,
   * and what the source throws. A range outside of the blob is a RangeError.
   */
  async read(offset: number, target: Buffer, signal?: AbortSignal): Promise<TouchSource> {
    const chunks = this.#chunksOf(offset, target.length);
    if (signal?.aborted) throw interrupted(this.layout.id, signal);
    this.#ahead.note(chunks, offset, target.length);
    return this.#work.count(async () => {
      if (await this.#readIfLocal(chunks, offset, target)) return 'local';
      return this.#work.cancellably(signal, (either) =>
        this.#read(chunks, offset, { target, signal: either }),
      );
    });
  }

  /**
   * Brings those of the chunks `indices` (ascending) here that are not, before anybody reads them; those of the class `startup`
   * stay longest. False, and nothing fetched, if they do not fit. Throws as `read` does.
   */
  async prefetch(
    indices: readonly number[],
    { class: name, signal }: { class: FetchClass; signal?: AbortSignal | undefined },
  ): Promise<boolean> {
    const { storage, fetcher, fits } = this.#shared;
    if (!storage || this.#closing) return false;
    const chunks = indices.map((index) => this.layout.chunk(index));
    return this.#work.count(() =>
      this.#work.cancellably(signal, async (either) => {
        // What a reader needs goes first.
        await nextTurn();
        await recheckSuspects(this.#shared.storage, this.layout, chunks);
        this.#throwIfCancelled(either);
        const missing = chunks.filter(
          ({ index }) => !this.has(index) && this.layout.chunkDigest(index) !== undefined,
        );
        if (name === 'startup') for (const { index } of chunks) storage.uses.markStartUp(index);
        if (missing.length === 0) return true;
        if (!fits(missing.reduce((sum, { size }) => sum + size, 0))) return false;
        await fetcher.obtain(this.#demand, missing, { class: name, signal: either });
        return true;
      }),
    );
  }

  /**
   * As `read`, at once and without waiting, if everything is here; else false, and `target` holds anything. Costs one
   * read(2), on the calling thread.
   */
  readLocal(offset: number, target: Buffer): boolean {
    const { storage } = this.#shared;
    const chunks = this.#chunksOf(offset, target.length);
    if (!storage || !this.#areLocal(chunks)) return this.#compose(chunks, offset, target);
    try {
      if (chunks.length > 0 && !storage.readSync(offset, target)) return false;
    } catch {
      return false;
    }
    fillGaps(chunks, offset, target);
    this.#noteHit(chunks);
    this.#ahead.note(chunks, offset, target.length);
    return true;
  }

  /** Ends running reads with INTERRUPTED, waits for them, and gives up trust. The store calls it. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await this.#work.close(new Error(`the cache of blob ${this.layout.id} was released`));
    this.noteHits();
    if (this.#trust) this.#shared.storage?.closeTrust(this.#trust);
  }

  /** The short way, for the many reads of data that is here: one read of the file and nothing else to wait for. */
  async #readIfLocal(chunks: ChunkInfo[], offset: number, target: Buffer): Promise<boolean> {
    if (!this.#areLocal(chunks)) return this.#compose(chunks, offset, target);
    if (chunks.length > 0 && !(await this.#readRun(chunks, offset, target))) return false;
    fillGaps(chunks, offset, target);
    this.#noteHit(chunks);
    return true;
  }

  /** Reads chunks that are here and pieces of others together, at once. False if something is in neither. */
  #compose(chunks: ChunkInfo[], offset: number, target: Buffer): boolean {
    const { storage } = this.#shared;
    const withdrawals = this.#trust?.withdrawals;
    const local = {
      isLocal: (index: number) => this.#isLocal(index),
      fromFile: (at: number, part: Buffer) => storage?.readSync(at, part) ?? false,
    };
    const done = this.#pieces?.compose(chunks, { offset, target }, local) ?? false;
    return done && this.#trust?.withdrawals === withdrawals;
  }

  #noteHit(chunks: ChunkInfo[]): void {
    this.#shared.stats.hits += chunks.length;
    const [first] = chunks;
    if (first) this.#shared.storage?.uses.note(first.index, first.index + chunks.length);
  }

  async #read(
    chunks: ChunkInfo[],
    offset: number,
    { target, signal }: { target: Buffer; signal: AbortSignal },
  ): Promise<TouchSource> {
    const { stats } = this.#shared;
    await recheckSuspects(this.#shared.storage, this.layout, chunks);
    this.#throwIfCancelled(signal);
    const missing = chunks.filter((chunk) => !this.#isLocal(chunk.index));
    stats.hits += chunks.length - missing.length;
    const fetched = new Set<ChunkInfo>();
    const take = (chunk: ChunkInfo, bytes: Buffer) => {
      fetched.add(chunk);
      placeChunk(chunk, bytes, { offset, target });
    };
    const use = { take, signal };
    const awaited = this.#pieces?.await(missing, { offset, target, signal, bytes: this.#demand.bytes });
    await this.#fetch(awaited?.others ?? missing, use);
    const came = (await awaited?.coming) ?? new Set();
    this.#throwIfCancelled(signal);
    const isServed = (chunk: ChunkInfo) => came.has(chunk) || fetched.has(chunk);
    await this.#fetch(
      missing.filter((chunk) => !isServed(chunk)),
      use,
    );
    stats.misses += missing.length - came.size;
    for (const run of localRuns(chunks, isServed)) {
      if (await this.#readRun(run, offset, target)) continue;
      this.#throwIfCancelled(signal);
      await this.#fetch(run, use);
    }
    fillGaps(chunks, offset, target);
    if (fetched.size > 0) return 'fetch';
    return came.size > 0 ? 'startup' : 'local';
  }

  async #fetch(chunks: ChunkInfo[], options: Required<Omit<ObtainOptions, 'class'>>): Promise<void> {
    if (chunks.length === 0) return;
    await this.#shared.fetcher.obtain(this.#demand, chunks, { ...options, class: 'demand' });
  }

  /**
   * Reads chunks that lie side by side from the data file. False if that fails, and then they are dropped; or if one of
   * them went meanwhile.
   */
  async #readRun(run: ChunkInfo[], offset: number, target: Buffer): Promise<boolean> {
    const storage = this.#shared.storage!;
    const withdrawals = this.#trust!.withdrawals;
    const from = Math.max(offset, run[0]!.decodedOffset);
    const to = Math.min(offset + target.length, endOf(run.at(-1)!));
    try {
      if (await storage.read(from, target.subarray(from - offset, to - offset)))
        return this.#trust!.withdrawals === withdrawals;
    } catch {
      // A disk that cannot read it any more is like a chunk that was never there.
    }
    for (const { index } of run) storage.drop(index);
    return false;
  }

  #areLocal(chunks: ChunkInfo[]): boolean {
    for (const { index } of chunks) if (!this.#isLocal(index)) return false;
    return true;
  }

  #isLocal(index: number): boolean {
    if (this.#trust?.has(index)) return true;
    if (!this.has(index)) return false;
    this.#trust?.give(index);
    return true;
  }

  #throwIfCancelled(signal: AbortSignal): void {
    if (signal.aborted) throw interrupted(this.layout.id, signal);
  }

  /** The chunks that overlap `length` bytes from decoded `offset`. */
  #chunksOf(offset: number, length: number): ChunkInfo[] {
    if (this.#closing) throw new Error(`the cache of blob ${this.layout.id} was released`);
    return chunksIn(this.layout, offset, length);
  }
}
