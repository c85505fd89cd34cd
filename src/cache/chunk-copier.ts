import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { DIGEST_SIZE } from '../codec/digest.js';
import { ChunkPlaces } from './chunk-places.js';
import { Donors } from './donors.js';
import type { BlobLayout, ChunkInfo } from './layout.js';
import { listStems, readStoredMap } from './quota/catalog.js';
import type { BlobStorage } from './storage/blob-storage.js';
import { readFull } from './storage/file-io.js';
import { isChunk } from './unit.js';

/** The files of a cache directory, as their owner has them. */
export interface DonorFiles {
  readonly dir: string;
  /** The files of blob `stem`, if they are open. */
  opened(stem: string): { storage: BlobStorage | undefined; places: SharedArrayBuffer } | undefined;
  /** Runs `work` while nobody opens or closes the files of blob `stem`: who opens them wants to be alone. */
  turn<T>(stem: string, work: () => Promise<T>): Promise<T>;
}

/** Finds chunks of one blob in the data of the others of a cache directory. */
export class ChunkCopier {
  readonly #files: DonorFiles;
  readonly #donors = new Donors();
  #closed = false;
  #indexing: Promise<void> = Promise.resolve();

  constructor(files: DonorFiles) {
    this.#files = files;
  }

  /** Begins to look what is there, in the background. */
  start(): void {
    // What cannot be read is no donor.
    this.#indexing = this.#index().catch(() => {});
  }

  /** Resolves when it has looked. */
  idle(): Promise<void> {
    return this.#indexing;
  }

  /** Looks no further. */
  close(): Promise<void> {
    this.#closed = true;
    return this.#indexing;
  }

  /** Blob `stem` has a chunk with `digest` now. */
  note(stem: string, { decodedOffset }: ChunkInfo, digest: Buffer): void {
    this.#donors.add(stem, decodedOffset, digest);
  }

  /** True if a blob other than `stem` is said to have a chunk. */
  mayCopy(stem: string, layout: BlobLayout, { index }: ChunkInfo): boolean {
    const digest = layout.chunkDigest(index);
    return digest !== undefined && this.#donors.find(digest, stem) !== undefined;
  }

  /** The verified bytes of those of `chunks`, in their order, that another blob than `stem` has. */
  async copyAll(
    stem: string,
    layout: BlobLayout,
    chunks: readonly ChunkInfo[],
  ): Promise<Map<ChunkInfo, Buffer>> {
    const all = await Promise.all(chunks.map((chunk) => this.#copy(stem, layout, chunk)));
    return new Map(chunks.flatMap((chunk, i) => (all[i] ? [[chunk, all[i]] as const] : [])));
  }

  async #copy(stem: string, layout: BlobLayout, chunk: ChunkInfo): Promise<Buffer | undefined> {
    const digest = layout.chunkDigest(chunk.index);
    const donor = digest && this.#donors.find(digest, stem);
    if (!donor) return undefined;
    const bytes = Buffer.allocUnsafe(chunk.size);
    const isWhole = await this.#read(donor.stem, bytes, donor.offset).catch(() => false);
    if (isWhole && isChunk(layout, chunk, bytes)) return bytes;
    this.#donors.forget(digest);
    return undefined;
  }

  async #read(stem: string, target: Buffer, offset: number): Promise<boolean> {
    const open = this.#files.opened(stem)?.storage;
    if (open) return open.read(offset, target);
    return this.#files.turn(stem, () => readData(join(this.#files.dir, `${stem}.data`), target, offset));
  }

  async #index(): Promise<void> {
    for (const stem of await listStems(this.#files.dir)) {
      await nextTurn();
      if (this.#closed) return;
      await this.#files.turn(stem, () => this.#indexOne(stem));
    }
  }

  async #indexOne(stem: string): Promise<void> {
    const open = this.#files.opened(stem);
    if (open?.storage) {
      const { storage } = open;
      const recordOf = (index: number) => (storage.has(index) ? storage.recordOf(index) : undefined);
      this.#add(stem, new ChunkPlaces(open.places), recordOf);
      return;
    }
    const map = await readStoredMap(this.#files.dir, stem, { records: true });
    const { present, records } = map ?? {};
    if (map === undefined || present === undefined || records === undefined) return;
    const recordOf = (index: number) =>
      present.has(index) ? records.subarray(index * DIGEST_SIZE, (index + 1) * DIGEST_SIZE) : undefined;
    this.#add(stem, new ChunkPlaces(map.places), recordOf);
  }

  #add(stem: string, places: ChunkPlaces, recordOf: (index: number) => Buffer | undefined): void {
    for (let index = 0; index < places.count; index++) {
      const record = recordOf(index);
      if (record !== undefined) this.#donors.add(stem, places.offset(index), record);
    }
  }
}

async function readData(path: string, target: Buffer, offset: number): Promise<boolean> {
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    return await readFull(file, target, offset);
  } finally {
    await file.close();
  }
}
