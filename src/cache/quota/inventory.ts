import type { CacheStore } from '../store.js';
import { blobIdOf, listStems, readPins, readStoredMap, sizeOfBlob } from './catalog.js';

/** A blob of the cache. */
export interface CachedBlob {
  /** Blob id: usually the hexadecimal digest of the object that holds its chunks. */
  id: string;
  /** File name in the cache directory, without its ending. */
  name: string;
  /** Decoded bytes of the whole blob. */
  size: number;
  /** Bytes on the local disk, with the chunk map. */
  localBytes: number;
  chunks: number;
  /** Chunks on the local disk. */
  localChunks: number;
  /** Everything that images use of it is here. */
  complete: boolean;
  /** Its map cannot be read: its data will be fetched again. */
  damaged: boolean;
  /** ISO 8601, UTC. */
  lastUsed: string;
  /** `cache prune` leaves it alone. */
  pinned: boolean;
  /** Mounts that use it. */
  mounts: number;
}

/** The blobs of the cache, the least recently used first. */
export async function listCache(store: CacheStore): Promise<CachedBlob[]> {
  const pins = await readPins(store.dir);
  const blobs: CachedBlob[] = [];
  for (const name of await listStems(store.dir)) {
    const blob = await describe(store, name, pins);
    if (blob !== undefined) blobs.push(blob);
  }
  return blobs.sort((a, b) => (a.lastUsed < b.lastUsed ? -1 : 1));
}

async function describe(store: CacheStore, name: string, pins: Set<string>): Promise<CachedBlob | undefined> {
  const sizes = await sizeOfBlob(store.dir, name);
  if (sizes === undefined) return undefined;
  const id = blobIdOf(name);
  const common = { id, name, size: sizes.size, localBytes: sizes.diskBytes, pinned: pins.has(id) };
  const when = (seconds: number) => new Date(seconds > 0 ? seconds * 1000 : sizes.changedAt).toISOString();
  const open = store.opened(name);
  if (open?.storage !== undefined) {
    const { views, storage } = open;
    const { chunkCount: chunks, localCount: localChunks } = storage;
    return {
      ...common,
      chunks,
      localChunks,
      complete: localChunks === chunks || views.some((view) => view.isComplete),
      damaged: false,
      lastUsed: when(storage.uses.latest()),
      mounts: views.length,
    };
  }
  const map = await readStoredMap(store.dir, name);
  const chunks = map?.identity.chunkCount ?? 0;
  const localChunks = map?.present.count() ?? 0;
  return {
    ...common,
    chunks,
    localChunks,
    complete: map !== undefined && localChunks === chunks,
    damaged: map === undefined,
    lastUsed: when(map?.uses.latest() ?? 0),
    mounts: open?.views.length ?? 0,
  };
}
