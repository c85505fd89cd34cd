import { RafterError } from '../errors.js';
import type { FileLock } from '../os/file-lock.js';
import { systemReason } from '../os/system-error.js';
import type { BlobBytes } from './blob-bytes.js';
import { BlobCache } from './blob-cache.js';
import { ChunkCopier } from './chunk-copier.js';
import { ChunkPlaces } from './chunk-places.js';
import type { FetchStats } from './fetch/fetch-stats.js';
import { Fetcher } from './fetch/fetcher.js';
import { FetchScheduler } from './fetch/scheduler.js';
import { Turns } from './fetch/turns.js';
import { type BlobLayout, fingerprintOf } from './layout.js';
import { blobIdOf, readIdentity, readStoredMap, removeBlobFiles } from './quota/catalog.js';
import { Quota } from './quota/quota.js';
import { addStats, type CacheStats, noStats } from './stats.js';
import { BlobStorage } from './storage/blob-storage.js';
import { type MapIdentity, sameIdentity } from './storage/chunk-map.js';
import { lockDirectory } from './storage/directory-lock.js';
import type { SharedFiles } from './storage/shared-files.js';
import { WriteTrouble } from './storage/write-trouble.js';

export interface CacheStoreOptions {
  /** Told when the directory does not take what is written, at most once a minute. `stats.writeErrors` counts all. */
  onWarning?: (message: string, cause: unknown) => void;
  /** Bytes that the directory may have on the disk; without it, as many as the disk has. */
  limit?: number | undefined;
  /** Called before the least recently used chunks go: to release what nobody needs. */
  onFull?: () => Promise<void>;
}

interface OpenBlob {
  identity: MapIdentity;
  shared: SharedFiles;
  views: Set<BlobCache>;
  /** `ChunkPlaces` of the blob. */
  places: SharedArrayBuffer;
  /** Works on its files that are not those of a view. */
  holds: number;
}

/**
 * The local data of all blobs of a node, in one directory: `<blob id>.data`, sparse, in decoded address space, and
 * `<blob id>.map`. One process at a time uses it.
 */
export class CacheStore {
  readonly dir: string;
  /** Decides when what is fetched of all blobs. */
  readonly scheduler = new FetchScheduler();
  readonly #lock: FileLock;
  readonly #trouble: WriteTrouble;
  readonly #open = new Map<string, OpenBlob>();
  /** Opening and closing of one blob's files follow one another, by blob id. */
  readonly #turns = new Turns();
  /** Works on files that are not those of a view. */
  readonly #works = new Set<Promise<void>>();
  readonly #closedStats = noStats();
  readonly #copier: ChunkCopier;
  readonly #quota: Quota | undefined;
  #closed = false;

  private constructor(dir: string, lock: FileLock, options: CacheStoreOptions) {
    this.dir = dir;
    this.#lock = lock;
    const { limit, onWarning = () => {}, onFull } = options;
    this.#trouble = new WriteTrouble(dir, onWarning);
    this.#copier = new ChunkCopier({
      dir,
      opened: (stem) => this.opened(stem),
      turn: (stem, work) => this.#turns.take(blobIdOf(stem), work),
    });
    if (limit !== undefined)
      this.#quota = new Quota(this, { limit, onFull, onError: (error) => this.#trouble.note('', error) });
  }

  /** Opens `dir`, created if it is not there. Throws BUSY, with the process id, if another process uses it. */
  static async open(dir: string, options: CacheStoreOptions = {}): Promise<CacheStore> {
    try {
      const store = new CacheStore(dir, lockDirectory(dir), options);
      await store.#quota?.start();
      store.#copier.start();
      return store;
    } catch (error) {
      if (error instanceof RafterError) throw error;
      throw new RafterError('FAILED', `cannot use cache directory ${dir}: ${systemReason(error)}`, {
        cause: error,
      });
    }
  }

  /**
   * A view of the blob that `layout` describes, to be given back with `release`. Views of one blob share files and
   * fetches; `bytes` is asked for what this view needs first. Bytes found damaged are fetched again, and a directory
   * that takes no files makes everything slower, but neither is an error.
   * Throws MALFORMED for a layout that contradicts itself.
   */
  async acquire(layout: BlobLayout, bytes: BlobBytes): Promise<BlobCache> {
    const fingerprint = fingerprintOf(layout);
    const { id, chunkCount, decodedSize } = layout;
    return this.#turns.take(id, async () => {
      if (this.#closed) throw new Error(`cache ${this.dir} is closed`);
      const identity = { blobId: id, chunkCount, decodedSize, fingerprint };
      const stem = await this.#stemFor(identity);
      const entry =
        this.#open.get(stem) ?? (await this.#openBlob(stem, identity, ChunkPlaces.describe(layout)));
      const view = new BlobCache(entry.shared, layout, bytes);
      entry.views.add(view);
      await view.findLocal();
      return view;
    });
  }

  /**
   * Ends the view: its running reads fail with INTERRUPTED. With the last view of a blob, its data is made durable and its
   * map trusted, which takes as long as the disk needs. Releasing twice does no harm.
   */
  async release(view: BlobCache): Promise<void> {
    await view.close();
    await this.#turns.take(view.layout.id, async () => {
      for (const [stem, entry] of this.#open) {
        if (entry.views.delete(view)) await this.#closeIfUnused(stem, entry);
      }
    });
  }

  /**
   * Lets `work` have the files of blob `stem`, opened for it if no view has. Undefined if there is no such blob, or its map
   * is damaged. Views come and go meanwhile.
   */
  async withStorage<T>(
    stem: string,
    work: (storage: BlobStorage, places: SharedArrayBuffer) => Promise<T>,
  ): Promise<T | undefined> {
    const id = blobIdOf(stem);
    const entry = await this.#turns.take(id, async () => {
      const found = this.#open.get(stem) ?? (await this.#openStored(stem));
      if (found) found.holds++;
      return found;
    });
    if (!entry) return undefined;
    const { storage } = entry.shared;
    const working = (async () => storage && (await work(storage, entry.places)))().finally(() =>
      this.#turns.take(id, async () => {
        entry.holds--;
        await this.#closeIfUnused(stem, entry);
      }),
    );
    const settled = working.then(
      () => {},
      () => {},
    );
    this.#works.add(settled);
    try {
      return await working;
    } finally {
      this.#works.delete(settled);
    }
  }

  /** The limit of the cache and what it has on the disk, in bytes; undefined if it has none. */
  get quota(): { limit: number; used: number } | undefined {
    return this.#quota && { limit: this.#quota.limit, used: this.#quota.used };
  }

  /** Why nothing is kept on disk just now: what the last write said, if none has succeeded since. */
  get problem(): string | undefined {
    return this.#trouble.problem;
  }

  /** Resolves when no room is being made, and what was here from the beginning is known. */
  async settled(): Promise<void> {
    await this.#quota?.idle();
    await this.#copier.idle();
  }

  /** True from the call of `close`: long work should end. */
  get isClosed(): boolean {
    return this.#closed;
  }

  /** Removes the files of blob `stem`. False if somebody uses it. */
  remove(stem: string): Promise<boolean> {
    return this.#turns.take(blobIdOf(stem), async () => {
      if (this.#open.has(stem)) return false;
      await removeBlobFiles(this.dir, stem);
      return true;
    });
  }

  /** The views of blob `stem` and its files; undefined if it is not open. */
  opened(
    stem: string,
  ):
    | { views: readonly BlobCache[]; storage: BlobStorage | undefined; places: SharedArrayBuffer }
    | undefined {
    const entry = this.#open.get(stem);
    return entry && { views: [...entry.views], storage: entry.shared.storage, places: entry.places };
  }

  /** Counters of all blobs since the store was opened. */
  get stats(): CacheStats {
    const sum = { ...this.#closedStats };
    for (const { shared, views } of this.#open.values()) {
      for (const view of views) view.noteHits();
      addStats(sum, shared.stats);
    }
    return sum;
  }

  /** What was fetched for which reason, and how long readers waited, since it was opened. */
  get fetchStats(): FetchStats {
    return this.scheduler.stats;
  }

  /** Releases all views, waits for writes, and lets others use the directory. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#quota?.close();
    await this.#copier.close();
    await this.#turns.idle();
    await Promise.all(this.#works);
    const views = [...this.#open.values()].flatMap((entry) => [...entry.views]);
    await Promise.all(views.map((view) => this.release(view)));
    this.#lock.release();
  }

  async #openBlob(stem: string, identity: MapIdentity, places: SharedArrayBuffer): Promise<OpenBlob> {
    const stats = noStats();
    const onError = (error: unknown) => {
      stats.writeErrors++;
      this.#trouble.note(stem, error);
    };
    let storage: BlobStorage | undefined;
    try {
      storage = await BlobStorage.open(this.dir, { stem, identity, places, stats, onError });
    } catch (error) {
      onError(error);
    }
    const hasRoom = (bytes: number) => this.#quota?.take(bytes) ?? true;
    const fits = (bytes: number) => this.#fits(bytes);
    const onWritten = () => this.#trouble.clear();
    const { scheduler } = this;
    const fetcher = new Fetcher({
      storage,
      stats,
      scheduler,
      stem,
      copier: this.#copier,
      hasRoom,
      fits,
      onWritten,
      onWriteError: onError,
    });
    const shared = { storage, stats, fetcher, fits };
    const entry = { identity, shared, views: new Set<BlobCache>(), places, holds: 0 };
    this.#open.set(stem, entry);
    return entry;
  }

  /** Opens a blob as its own map describes it. */
  async #openStored(stem: string): Promise<OpenBlob | undefined> {
    const map = this.#closed ? undefined : await readStoredMap(this.dir, stem);
    return map && this.#openBlob(stem, map.identity, map.places);
  }

  async #closeIfUnused(stem: string, entry: OpenBlob): Promise<void> {
    if (entry.views.size === 0 && entry.holds === 0) await this.#closeBlob(stem, entry);
  }

  async #closeBlob(stem: string, { shared }: OpenBlob): Promise<void> {
    await shared.fetcher.idle();
    try {
      await shared.storage?.close();
    } catch (error) {
      shared.stats.writeErrors++;
      this.#trouble.note(stem, error);
    }
    this.#open.delete(stem);
    addStats(this.#closedStats, shared.stats);
  }

  /**
   * The file name for a layout: the blob id, as long as nobody has claimed it for other places of the chunks. Images that
   * are true to the blob agree; one that is not gets files of its own, whichever comes first.
   */
  async #stemFor(identity: MapIdentity): Promise<string> {
    const { blobId, fingerprint } = identity;
    const owner = this.#open.get(blobId)?.identity ?? (await readIdentity(this.dir, blobId));
    return !owner || owner.blobId !== blobId || sameIdentity(owner, identity)
      ? blobId
      : `${blobId}-${fingerprint}`;
  }

  /** A disk that did not take the last write is tried again after a while. */
  #fits(bytes: number): boolean {
    return !this.#trouble.isRecent && (this.#quota?.fits(bytes) ?? true);
  }
}
