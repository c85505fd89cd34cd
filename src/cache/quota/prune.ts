import type { CacheStore } from '../store.js';
import { type CachedBlob, listCache } from './inventory.js';

/** Which blobs to remove. Those in use and those that are pinned stay, whatever it says. */
export interface PruneRule {
  /** Those that no image needs: told by blob id. */
  unless: (id: string) => boolean;
  /** All. */
  all?: boolean | undefined;
  /** Those that were not used since then, in milliseconds since 1970. */
  usedBefore?: number | undefined;
  /** The least recently used, until the cache has no more than so many bytes on disk. */
  maxBytes?: number | undefined;
}

/** What pruning removed. */
export interface Pruned {
  blobs: string[];
  /** Disk space that they had, in bytes. */
  bytes: number;
}

/** Removes blobs as `rule` says, and those whose files are damaged. */
export async function pruneCache(store: CacheStore, rule: PruneRule): Promise<Pruned> {
  const pruned: Pruned = { blobs: [], bytes: 0 };
  const blobs = await listCache(store);
  let left = blobs.reduce((sum, { localBytes }) => sum + localBytes, 0);
  for (const blob of blobs) {
    if (blob.pinned || blob.mounts > 0 || !isMeant(blob, rule, left)) continue;
    if (!(await store.remove(blob.name))) continue;
    left -= blob.localBytes;
    pruned.blobs.push(blob.name);
    pruned.bytes += blob.localBytes;
  }
  return pruned;
}

function isMeant(blob: CachedBlob, rule: PruneRule, left: number): boolean {
  const { unless, all = false, usedBefore, maxBytes } = rule;
  if (all || blob.damaged || !unless(blob.id)) return true;
  if (usedBefore !== undefined && Date.parse(blob.lastUsed) < usedBefore) return true;
  return maxBytes !== undefined && left > maxBytes;
}
