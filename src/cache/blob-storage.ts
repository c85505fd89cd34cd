import { constants, readSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import { DIGEST_SIZE } from '../codec/digest.js';
import { Bitmap } from './bitmap.js';
import type { DataStamp, MapIdentity } from './chunk-map.js';
import { readFull, writeFull } from './file-io.js';
import type { ChunkInfo } from './layout.js';
import { type LoadedMap, MapFile } from './map-file.js';
import { type SharedBlob, SharedTrust } from './shared-trust.js';
import type { CacheStats } from './stats.js';

/** How long a new bit may stay in memory only, in milliseconds. A crash in between costs a fetch, nothing else. */
const FLUSH_DELAY_MS = 1000;
const FILE_MODE = 0o600;

/** A chunk whose bytes match `digest`. */
export interface VerifiedChunk {
  chunk: ChunkInfo;
  bytes: Buffer;
  digest: Buffer;
}

export interface StorageOptions {
  /** File name without `.data` and `.map`. */
  stem: string;
  identity: MapIdentity;
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
  readonly #chunkCount: number;
  readonly #onError: (error: unknown) => void;
  readonly #stats: CacheStats;
  #changed = false;
  #timer: NodeJS.Timeout | undefined;
  #flushing: Promise<void> = Promise.resolve();

  private constructor(data: FileHandle, map: MapFile, loaded: LoadedMap, options: StorageOptions) {
    this.#data = data;
    this.#map = map;
    this.#present = loaded.present;
    this.#suspect = loaded.suspect;
    this.#chunkCount = options.identity.chunkCount;
    this.#onError = options.onError;
    this.#stats = options.stats;
  }

  /** Opens or creates the two files in `dir`. Files that do not belong together or are damaged start anew, empty. */
  static async open(dir: string, options: StorageOptions): Promise<BlobStorage> {
    const { stem, identity } = options;
    const flags = constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW;
    const data = await open(join(dir, `${stem}.data`), flags, FILE_MODE);
    let handle: FileHandle | undefined;
    try {
      handle = await open(join(dir, `${stem}.map`), flags, FILE_MODE);
      const map = new MapFile(handle, identity);
      const whole = (await data.stat()).size === identity.decodedSize;
      let loaded = whole ? await map.load(await stampOf(data)) : undefined;
      if (!loaded) {
        await map.reset();
        await data.truncate(0);
        await data.truncate(identity.decodedSize);
        loaded = { present: new Bitmap(identity.chunkCount), suspect: new Bitmap(identity.chunkCount) };
      }
      return new BlobStorage(data, map, loaded, options);
    } catch (error) {
      await handle?.close();
      await data.close();
      throw error;
    }
  }

  /** A place for one reader to note in which chunks it trusts. Kept up to date when a chunk goes. */
  openTrust(): SharedTrust {
    const trust = new SharedTrust(this.#chunkCount);
    this.#trusts.add(trust);
    return trust;
  }

  closeTrust(trust: SharedTrust): void {
    this.#trusts.delete(trust);
  }

  /** True if the data file holds chunk `index` and its bytes were verified against `digest`. */
  holds(index: number, digest: Buffer): boolean {
    return this.#present.has(index) && !this.#suspect.has(index) && this.#recordOf(index).equals(digest);
  }

  /**
   * As `holds` for all chunks at once, with one read of the map: the numbers of those that the file holds as `digestOf`
   * says. Chunks without a digest are left out.
   */
  async findHeld(digestOf: (index: number) => Buffer | undefined): Promise<number[]> {
    const records = await this.#map.readRecords();
    const held: number[] = [];
    for (let index = 0; index < this.#chunkCount; index++) {
      if (!this.#present.has(index) || this.#suspect.has(index)) continue;
      const digest = digestOf(index);
      const record =
        this.#records.get(index) ?? records?.subarray(index * DIGEST_SIZE, (index + 1) * DIGEST_SIZE);
      if (digest !== undefined && record?.equals(digest)) held.push(index);
    }
    return held;
  }

  /** What other threads need to read the chunks that `trust` knows, which lie at `places`. */
  share(trust: SharedTrust, places: SharedArrayBuffer): SharedBlob {
    return trust.share(this.#data.fd, places);
  }

  isSuspect(index: number): boolean {
    return this.#suspect.has(index);
  }

  /**
   * Reads a suspect chunk and asks `isRight` about its bytes: afterwards it is present, recorded with `digest`, or absent.
   * Callers at the same time share one reading.
   */
  recheck(chunk: ChunkInfo, digest: Buffer, isRight: (bytes: Buffer) => boolean): Promise<void> {
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
        await writeFull(this.#data, joined(run), run[0]!.chunk.decodedOffset);
        for (const { chunk, digest } of run) {
          this.#mark(chunk.index, digest);
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
      if (!this.#changed && !this.#map.isDirty) return;
      await this.#flush();
      await this.#data.sync();
      await this.#map.markClean(this.#bits(), await stampOf(this.#data));
    } finally {
      await this.#map.close();
      await this.#data.close();
    }
  }

  #isWanted({ chunk: { index }, digest }: VerifiedChunk): boolean {
    if (this.#writing.has(index) || this.#suspect.has(index)) return false;
    if (!this.#present.has(index)) return true;
    if (this.#recordOf(index).equals(digest)) return false;
    // Two images disagree about this chunk. Bytes that somebody reads stay; the other image is served from memory.
    for (const trust of this.#trusts) if (trust.has(index)) return false;
    return true;
  }

  async #recheck(chunk: ChunkInfo, digest: Buffer, isRight: (bytes: Buffer) => boolean): Promise<void> {
    const bytes = Buffer.allocUnsafe(chunk.size);
    const right = await this.read(chunk.decodedOffset, bytes).then(
      (whole) => whole && isRight(bytes),
      () => false,
    );
    if (right) this.#mark(chunk.index, digest);
    else this.drop(chunk.index);
  }

  #recordOf(index: number): Buffer {
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

async function stampOf(file: FileHandle): Promise<DataStamp> {
  const { ino, mtimeNs } = await file.stat({ bigint: true });
  return { inode: ino, mtime: mtimeNs };
}

/** Bytes between two chunks that may be written along: what aligning chunks to 4096 leaves. */
const MAX_GAP = 4095;

/** Chunks that lie side by side in decoded space, so that the members of a batch are one write. */
function inRuns(chunks: VerifiedChunk[]): VerifiedChunk[][] {
  const runs: VerifiedChunk[][] = [];
  let end = Number.NEGATIVE_INFINITY;
  for (const item of chunks) {
    const { decodedOffset, size } = item.chunk;
    const gap = decodedOffset - end;
    if (gap >= 0 && gap <= MAX_GAP) runs.at(-1)!.push(item);
    else runs.push([item]);
    end = decodedOffset + size;
  }
  return runs;
}

/** The bytes of a run, with zeros in the gaps. */
function joined(run: VerifiedChunk[]): Buffer {
  const first = run[0]!;
  if (run.length === 1) return first.bytes;
  const last = run.at(-1)!.chunk;
  const start = first.chunk.decodedOffset;
  const bytes = Buffer.alloc(last.decodedOffset + last.size - start);
  for (const { chunk, bytes: part } of run) part.copy(bytes, chunk.decodedOffset - start);
  return bytes;
}
