import { ChunkPlaces } from '../chunk-places.js';
import type { BlobStorage } from '../storage/blob-storage.js';
import type { CacheStore } from '../store.js';
import { blobIdOf, listStems, readPins, readStoredMap, sizeOfBlob } from './catalog.js';
import type { ChunkUses } from './chunk-uses.js';

/** Above every time of use: chunks that belong to the start of an image go last, after them those of pinned blobs. */
const START_UP = 2 ** 32;
const PINNED = 2 ** 33;
const BLOCK = 4096;

/** A blob whose chunks may go. */
interface Candidate {
  stem: string;
  isOpen: boolean;
  places: ChunkPlaces;
  uses: ChunkUses;
  /** Added to the rank of each chunk. */
  rank: number;
  has: (index: number) => boolean;
}

/**
 * Gives back at least `need` bytes of disk space, the least recently used chunks first, those of a start and of pinned blobs
 * last; chunks of files that the kernel reads never. Returns how many bytes it were, fewer if there was no more.
 */
export async function evictChunks(store: CacheStore, need: number): Promise<number> {
  const candidates = await findCandidates(store);
  const limit = findLimit(candidates, need);
  let freed = 0;
  for (const candidate of candidates) {
    if (freed >= need) break;
    freed += await evictFrom(store, candidate, { limit, need: need - freed });
  }
  return freed;
}

/** Bytes that the blobs of the cache have on the disk. */
export async function diskUse(store: CacheStore): Promise<number> {
  let sum = 0;
  for (const stem of await listStems(store.dir)) sum += (await sizeOfBlob(store.dir, stem))?.diskBytes ?? 0;
  return sum;
}

async function findCandidates(store: CacheStore): Promise<Candidate[]> {
  const pins = await readPins(store.dir);
  const candidates: Candidate[] = [];
  for (const stem of await listStems(store.dir)) {
    const rank = pins.has(blobIdOf(stem)) ? PINNED : 0;
    const open = store.opened(stem);
    if (open !== undefined) {
      const { storage, places } = open;
      if (storage === undefined || storage.isGuarded) continue;
      const has = (index: number) => storage.has(index);
      candidates.push({ stem, isOpen: true, places: new ChunkPlaces(places), uses: storage.uses, rank, has });
      continue;
    }
    const map = await readStoredMap(store.dir, stem);
    if (map === undefined) continue;
    const { present, uses } = map;
    const has = (index: number) => present.has(index);
    candidates.push({ stem, isOpen: false, places: new ChunkPlaces(map.places), uses, rank, has });
  }
  // Blobs that nobody has mounted first, of those with equal times.
  return candidates.sort((a, b) => a.rank - b.rank || Number(a.isOpen) - Number(b.isOpen));
}

/** The lower, the sooner a chunk goes: when it was last used, in seconds, and what speaks for it besides. */
function rankOf({ uses, rank }: Candidate, index: number): number {
  return uses.last(index) + (uses.isStartUp(index) ? START_UP : 0) + rank;
}

/** The rank up to which chunks must go, so that they have `need` bytes together. */
function findLimit(candidates: Candidate[], need: number): number {
  const bytesByTime = new Map<number, number>();
  for (const candidate of candidates) {
    const { places, has } = candidate;
    for (let index = 0; index < places.count; index++) {
      if (!has(index)) continue;
      const time = rankOf(candidate, index);
      bytesByTime.set(time, (bytesByTime.get(time) ?? 0) + places.size(index));
    }
  }
  let sum = 0;
  for (const time of [...bytesByTime.keys()].sort((a, b) => a - b)) {
    sum += bytesByTime.get(time)!;
    if (sum >= need) return time;
  }
  return Number.POSITIVE_INFINITY;
}

async function evictFrom(
  store: CacheStore,
  candidate: Candidate,
  { limit, need }: { limit: number; need: number },
): Promise<number> {
  const { stem, isOpen, places, has } = candidate;
  const due: number[] = [];
  let dueBytes = 0;
  let stays = false;
  for (let index = 0; index < places.count; index++) {
    if (!has(index)) continue;
    if (rankOf(candidate, index) > limit) {
      stays = true;
      continue;
    }
    due.push(index);
    dueBytes += places.size(index);
  }
  if (!isOpen && !stays && dueBytes <= need) {
    // A mount of an earlier process may read the file: removing it would free nothing.
    const isGuarded = await store.withStorage(stem, async (storage) => storage.isGuarded);
    const bytes = (await sizeOfBlob(store.dir, stem))?.diskBytes ?? 0;
    if (isGuarded) return 0;
    if (await store.remove(stem)) return bytes;
  }
  due.sort((a, b) => rankOf(candidate, a) - rankOf(candidate, b));
  if (due.length === 0) return 0;
  return (await store.withStorage(stem, (storage) => evictAll(storage, { due, places, need }))) ?? 0;
}

async function evictAll(
  storage: BlobStorage,
  { due, places, need }: { due: number[]; places: ChunkPlaces; need: number },
): Promise<number> {
  let freed = 0;
  for (const index of due) {
    if (freed >= need) break;
    const start = places.offset(index);
    const size = places.size(index);
    // What is left of its last block belongs to nobody, unless the next chunk begins in it.
    const rounded = Math.ceil((start + size) / BLOCK) * BLOCK;
    const next = index + 1 < places.count ? places.offset(index + 1) : rounded;
    if (await storage.evict(index, { start, end: Math.min(rounded, next) })) freed += size;
  }
  return freed;
}
