import { readSync } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { crc32c, DIGEST_SIZE } from '../../codec/digest.js';
import { Bitmap, bitmapSize } from './bitmap.js';
import {
  type DataStamp,
  decodeMapHeader,
  encodeMapHeader,
  MAP_HEADER_SIZE,
  type MapIdentity,
  mapPlaces,
  sameIdentity,
} from './chunk-map.js';
import { readFull, writeFull } from './file-io.js';

/**
 * A map is given its place on the disk when it is made, so that a disk that fills up does not cost the bits of what was
 * stored before. Up to this many bytes: 87000 chunks; larger maps are sparse.
 */
const MAX_ALLOCATED_SIZE = 4 << 20;

/** What a map file said when it was opened. */
export interface LoadedMap {
  /** Chunks that the data file holds. */
  present: Bitmap;
  /** Those of them that are not believed: after an unclean stop all. */
  suspect: Bitmap;
}

/** The bits to write, and the digests of chunks marked since the last time. */
export interface MapChanges extends LoadedMap {
  records: ReadonlyMap<number, Buffer>;
}

/**
 * The map file of one blob while this process uses it. On disk it is dirty from the first change to the end of `close`,
 * and durably so before that change: whatever a crash leaves of later writes is then verified again, not believed.
 */
export class MapFile {
  readonly #handle: FileHandle;
  readonly #identity: MapIdentity;
  readonly #places: ReturnType<typeof mapPlaces>;
  #dirty: Promise<void> | undefined;

  constructor(handle: FileHandle, identity: MapIdentity) {
    this.#handle = handle;
    this.#identity = identity;
    this.#places = mapPlaces(identity.chunkCount);
  }

  /** What the file says, or undefined if it is not the map of this blob or is damaged. `stamp` is the data file's. */
  async load(stamp: DataStamp): Promise<LoadedMap | undefined> {
    const { chunkCount } = this.#identity;
    const { bitmaps, records, size } = this.#places;
    if ((await this.#handle.stat()).size !== size) return undefined;
    const bytes = Buffer.alloc(records);
    if (!(await readFull(this.#handle, bytes, 0))) return undefined;
    const header = decodeMapHeader(bytes);
    if (!header || !sameIdentity(header, this.#identity)) return undefined;
    const half = bitmapSize(chunkCount);
    const both = bytes.subarray(bitmaps, bitmaps + 2 * half);
    const present = new Bitmap(chunkCount, Buffer.from(both.subarray(0, half)));
    for (let index = chunkCount; index < half * 8; index++) if (present.has(index)) return undefined;
    const { clean } = header;
    if (clean && clean.bitmapsCrc !== crc32c(both)) return undefined;
    const believed = clean && clean.stamp.inode === stamp.inode && clean.stamp.mtime === stamp.mtime;
    const suspect = believed ? both.subarray(half) : present.bytes;
    return { present, suspect: new Bitmap(chunkCount, Buffer.from(suspect)) };
  }

  /** Forgets everything that the file says; `chunkPlaces` is what `ChunkPlaces` describes the blob with. */
  async reset(chunkPlaces: Buffer): Promise<void> {
    await this.#handle.truncate(0);
    await writeFull(this.#handle, encodeMapHeader({ ...this.#identity, clean: undefined }), 0);
    const { size, places } = this.#places;
    const zeros = Buffer.alloc(Math.min(size, MAX_ALLOCATED_SIZE) - MAP_HEADER_SIZE);
    await writeFull(this.#handle, zeros, MAP_HEADER_SIZE);
    await this.#handle.truncate(size);
    await writeFull(this.#handle, chunkPlaces, places);
  }

  /** When each chunk was last used, 4 bytes per chunk; undefined if that cannot be read. */
  async readUses(): Promise<Buffer | undefined> {
    const { uses, size } = this.#places;
    const bytes = Buffer.alloc(size - uses);
    const whole = await readFull(this.#handle, bytes, uses).catch(() => false);
    return whole ? bytes : undefined;
  }

  /** Writes what `readUses` gives. Nothing is believed because of it, so the file need not be dirty. */
  writeUses(bytes: Buffer): Promise<void> {
    return writeFull(this.#handle, bytes, this.#places.uses);
  }

  /** Marks the file dirty if it is not yet, and waits until that is on disk. Call before any change to either file. */
  beDirty(): Promise<void> {
    this.#dirty ??= this.#writeHeader(undefined).catch((error) => {
      this.#dirty = undefined;
      throw error;
    });
    return this.#dirty;
  }

  /** True from the first `beDirty`. */
  get isDirty(): boolean {
    return this.#dirty !== undefined;
  }

  /** The digest that chunk `index` was verified against, 32 bytes; zeros if it never was or cannot be read. */
  readRecord(index: number): Buffer {
    const record = Buffer.alloc(DIGEST_SIZE);
    try {
      readSync(this.#handle.fd, record, 0, DIGEST_SIZE, this.#places.records + index * DIGEST_SIZE);
    } catch {
      record.fill(0);
    }
    return record;
  }

  /** All records, one behind the other; undefined if they cannot be read. */
  async readRecords(): Promise<Buffer | undefined> {
    const bytes = Buffer.allocUnsafe(this.#identity.chunkCount * DIGEST_SIZE);
    const whole = await readFull(this.#handle, bytes, this.#places.records).catch(() => false);
    return whole ? bytes : undefined;
  }

  /** Writes digests, then bits: a bit on disk always has its digest. Takes a picture of `changes` before it waits. */
  async write({ present, suspect, records }: MapChanges): Promise<void> {
    const bitmaps = Buffer.concat([present.bytes, suspect.bytes]);
    const runs = [...inRuns(records)];
    await this.beDirty();
    for (const { index, bytes } of runs) {
      await writeFull(this.#handle, bytes, this.#places.records + index * DIGEST_SIZE);
    }
    await writeFull(this.#handle, bitmaps, this.#places.bitmaps);
  }

  /** Makes the bits trusted at the next start. The data file must be on disk and have `stamp`. */
  async markClean({ present, suspect }: LoadedMap, stamp: DataStamp): Promise<void> {
    await this.#handle.datasync();
    const bitmapsCrc = crc32c(Buffer.concat([present.bytes, suspect.bytes]));
    await this.#writeHeader({ stamp, bitmapsCrc });
    this.#dirty = undefined;
  }

  async close(): Promise<void> {
    await this.#handle.close();
  }

  async #writeHeader(clean: { stamp: DataStamp; bitmapsCrc: number } | undefined): Promise<void> {
    await writeFull(this.#handle, encodeMapHeader({ ...this.#identity, clean }), 0);
    await this.#handle.datasync();
  }
}

/** Digests of adjacent chunks together, so that a flush makes few writes. */
function* inRuns(records: ReadonlyMap<number, Buffer>): Generator<{ index: number; bytes: Buffer }> {
  const indices = [...records.keys()].sort((a, b) => a - b);
  for (let start = 0; start < indices.length; ) {
    let end = start + 1;
    while (end < indices.length && indices[end] === indices[end - 1]! + 1) end++;
    yield {
      index: indices[start]!,
      bytes: Buffer.concat(indices.slice(start, end).map((index) => records.get(index)!)),
    };
    start = end;
  }
}
