import { readSync } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { DIGEST_SIZE } from '../../codec/digest.js';
import { isOnlyOpen, punchHole } from '../../os/file-space.js';
import type { ChunkInfo } from '../layout.js';
import { ChunkUses } from '../quota/chunk-uses.js';
import type { CacheStats } from '../stats.js';
import type { Bitmap } from './bitmap.js';
import { type BlobFiles, openBlobFiles, stampOf } from './blob-files.js';
import type { MapIdentity } from './chunk-map.js';
import { readFull } from './file-io.js';
import type { LoadedMap, MapFile } from './map-file.js';
import { type SharedBlob, SharedTrust } from './shared-trust.js';
import { inRuns, type VerifiedChunk, writeRun } from './write-runs.js';

/** What has to be known of a chunk to read it. */
export type ChunkPlace = Pick<ChunkInfo, 'index' | 'decodedOffset' | 'size'>;

/** How long a new bit may stay in memory only, in milliseconds. A crash in between costs a fetch, nothing else. */
const FLUSH_DELAY_MS = 1000;

export interface StorageOptions {
  /** File name without `.data` and `.map`. */
  stem: string;
  identity: MapIdentity;
  /** `ChunkPlaces` of the blob. */
  places: SharedArrayBuffer;
  /** Called when the map could not be written in the background; it is tried again with the next change. */
  onError: (error: unknown) => void;
  /** Counts bytes stored and chunks dropped. */
  stats: CacheStats;
}

/**
 * The data file and the chunk map of one blob. A chunk here is absent, present (its bytes matched the digest that the map
 * records), or suspect (present, but to be verified again). Readers that found a chunk to be what they want keep that in a
 * bitmap of their own (`openTrust`); while one of them trusts a chunk, nothing overwrites it.
 */
export class BlobStorage {
  readonly #data: FileHandle;
  readonly #map: MapFile;
  readonly #present: Bitmap;
  readonly #suspect: Bitmap;
  /** Digests of chunks marked since the last flush. */
  readonly #records = new Map<number, Buffer>();
  readonly #writing = new Set<number>();
  readonly #rechecks = new Map<number, Promise<void>>();
  readonly #trusts = new Set<SharedTrust>();
  readonly chunkCount: number;
  readonly #places: SharedArrayBuffer;
  readonly #usesMemory: SharedArrayBuffer;
  /** When the chunks were used; readers note it. */
  readonly uses: ChunkUses;
  #guarded: boolean;
  readonly #onError: (error: unknown) => void;
  readonly #stats: CacheStats;
  #changed = false;
  #timer: NodeJS.Timeout | undefined;
  #flushing: Promise<void> = Promise.resolve();

  private constructor({ data, map, loaded, uses }: BlobFiles, options: StorageOptions) {
    this.#data = data;
    this.#map = map;
    this.#present = loaded.present;
    this.#suspect = loaded.suspect;
    this.chunkCount = options.identity.chunkCount;
    this.#places = options.places;
    this.#usesMemory = ChunkUses.memory(this.chunkCount, uses);
    this.uses = new ChunkUses(this.#usesMemory);
    this.#guarded = !isOnlyOpen(data.fd);
    this.#onError = options.onError;
    this.#stats = options.stats;
  }

  /** Opens or creates the two files in `dir`. Files that do not belong together or are damaged are replaced by empty ones. */
  static async open(dir: string, options: StorageOptions): Promise<BlobStorage> {
    return new BlobStorage(await openBlobFiles(dir, options), options);
  }

  /** A place for one reader to note in which chunks it trusts. Kept up to date when a chunk goes. */
  openTrust(): SharedTrust {
    const trust = new SharedTrust(this.chunkCount);
    this.#trusts.add(trust);
    return trust;
  }

  closeTrust(trust: SharedTrust): void {
    this.#trusts.delete(trust);
  }

  /** True if the data file holds chunk `index` and its bytes were verified against `digest`. */
  holds(index: number, digest: Buffer): boolean {
    return this.#present.has(index) && !this.#suspect.has(index) && this.recordOf(index).equals(digest);
  }

  /**
   * As `holds` for all chunks at once, with one read of the map: the numbers of those that the file holds as `digestOf`
   * says. Chunks without a digest are left out.
   */
  async findHeld(digestOf: (index: number) => Buffer | undefined): Promise<number[]> {
    const records = await this.#map.readRecords();
    const held: number[] = [];
    for (let index = 0; index < this.chunkCount; index++) {
      if (!this.#present.has(index) || this.#suspect.has(index)) continue;
      const digest = digestOf(index);
      const record =
        this.#records.get(index) ?? records?.subarray(index * DIGEST_SIZE, (index + 1) * DIGEST_SIZE);
      if (digest !== undefined && record?.equals(digest)) held.push(index);
    }
    return held;
  }

  /** What other threads need to read the chunks that `trust` knows. */
  share(trust: SharedTrust): SharedBlob {
    return trust.share(this.#data.fd, this.#places, this.#usesMemory);
  }

  /** From now on until the files are closed no byte of them may change that is there: others read them as they are. */
  guard(): void {
    this.#guarded = true;
  }

  /** True if others than this process read the data file, or may. */
  get isGuarded(): boolean {
    return this.#guarded;
  }

  /** How many chunks the data file holds, suspect ones too. */
  get localCount(): number {
    return this.#present.count();
  }

  /** True if the data file holds chunk `index`, suspect or not. */
  has(index: number): boolean {
    return this.#present.has(index);
  }

  isSuspect(index: number): boolean {
    return this.#suspect.has(index);
  }

  /**
   * Reads a chunk, usually a suspect one, and asks `isRight` about its bytes: afterwards it is present, recorded with `digest`, or absent.
   * Callers at the same time share one reading.
   */
  recheck(chunk: ChunkPlace, digest: Buffer, isRight: (bytes: Buffer) => boolean): Promise<void> {
    let running = this.#rechecks.get(chunk.index);
    if (!running) {
      running = this.#recheck(chunk, digest, isRight).finally(() => this.#rechecks.delete(chunk.index));
      this.#rechecks.set(chunk.index, running);
    }
    return running;
  }

  /** Forgets chunk `index`: its bytes cannot be read or are wrong. */
  drop(index: number): void {
    if (this.#present.has(index)) this.#stats.dropped++;
    this.#forget(index);
  }

  /**
   * Gives back the disk space of chunk `index`, which lies from `start` to `end`. False, and nothing done, if it is not here,
   * if somebody is working on it, or if others read the file. Throws what fallocate(2) says; then it is forgotten.
   */
  async evict(index: number, { start, end }: { start: number; end: number }): Promise<boolean> {
    if (!this.#isEvictable(index)) return false;
    await this.#map.beDirty();
    // Whatever has begun meanwhile goes first. From here to the hole nothing can come in between.
    if (!this.#isEvictable(index)) return false;
    this.#forget(index);
    punchHole(this.#data.fd, start, end - start);
    this.#stats.evicted++;
    return true;
  }

  #isEvictable(index: number): boolean {
    const busy = this.#writing.has(index) || this.#rechecks.has(index);
    return this.#present.has(index) && !busy && !this.#guarded;
  }

  #forget(index: number): void {
    this.#present.clear(index);
    this.#suspect.clear(index);
    this.#records.delete(index);
    for (const trust of this.#trusts) trust.withdraw(index);
    this.#noteChange();
  }

  /** Decoded bytes from `offset`. False if the file has fewer; throws what read(2) says. */
  read(offset: number, target: Buffer): Promise<boolean> {
    return readFull(this.#data, target, offset);
  }

  /** As `read`, without leaving the thread. */
  readSync(offset: number, target: Buffer): boolean {
    return readSync(this.#data.fd, target, 0, target.length, offset) === target.length;
  }

  /**
   * Writes chunks that are neither here nor being written, then marks them. Throws what write(2)
   * says; then none of the chunks of the failed write is marked.
   */
  async store(chunks: VerifiedChunk[]): Promise<void> {
    const wanted = chunks.filter((item) => this.#isWanted(item));
    for (const { chunk } of wanted) {
      this.#writing.add(chunk.index);
      this.#present.clear(chunk.index);
      this.#records.delete(chunk.index);
    }
    try {
      if (wanted.length > 0) await this.#map.beDirty();
      for (const run of inRuns(wanted)) {
        await writeRun(this.#data, run);
        for (const { chunk, digest } of run) {
          this.#mark(chunk.index, digest);
          this.uses.note(chunk.index);
          this.#stats.storedBytes += chunk.size;
        }
      }
    } finally {
      for (const { chunk } of wanted) this.#writing.delete(chunk.index);
    }
  }

  /**
   * Makes everything durable and the map trusted, and closes both files. No other call may be running. Throws what the
   * disk says; then the files are closed and every chunk will be verified again.
   */
  async close(): Promise<void> {
    clearTimeout(this.#timer);
    await this.#flushing;
    try {
      // Only a hint: a disk that does not take it must not cost more.
      await this.#map.writeUses(Buffer.from(this.#usesMemory)).catch(() => {});
      if (!this.#changed && !this.#map.isDirty) return;
      await this.#flush();
      await this.#data.sync();
      await this.#map.markClean(this.#bits(), stampOf(await this.#data.stat({ bigint: true })));
    } finally {
      await this.#map.close();
      await this.#data.close();
    }
  }

  #isWanted({ chunk: { index }, digest }: VerifiedChunk): boolean {
    if (this.#writing.has(index) || this.#suspect.has(index)) return false;
    if (!this.#present.has(index)) return true;
    if (this.recordOf(index).equals(digest)) return false;
    // Two images disagree about this chunk. Bytes that somebody reads stay; the other image is served from memory.
    if (this.#guarded) return false;
    for (const trust of this.#trusts) if (trust.has(index)) return false;
    return true;
  }

  async #recheck(chunk: ChunkPlace, digest: Buffer, isRight: (bytes: Buffer) => boolean): Promise<void> {
    const bytes = Buffer.allocUnsafe(chunk.size);
    const right = await this.read(chunk.decodedOffset, bytes).then(
      (whole) => whole && isRight(bytes),
      () => false,
    );
    if (!right) this.drop(chunk.index);
    else if (this.#suspect.has(chunk.index)) this.#mark(chunk.index, digest);
  }

  /** The digest that chunk `index` was verified against, 32 bytes; zeros if that is not known. */
  recordOf(index: number): Buffer {
    return this.#records.get(index) ?? this.#map.readRecord(index);
  }

  #mark(index: number, digest: Buffer): void {
    this.#present.set(index);
    this.#suspect.clear(index);
    this.#records.set(index, Buffer.from(digest));
    this.#noteChange();
  }

  #bits(): LoadedMap {
    return { present: this.#present, suspect: this.#suspect };
  }

  #noteChange(): void {
    this.#changed = true;
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#flushing = this.#flushing.then(() => this.#flush().catch(this.#onError));
    }, FLUSH_DELAY_MS).unref();
  }

  async #flush(): Promise<void> {
    const records = new Map(this.#records);
    await this.#map.write({ ...this.#bits(), records });
    for (const [index, record] of records) {
      if (this.#records.get(index) === record) this.#records.delete(index);
    }
  }
}
