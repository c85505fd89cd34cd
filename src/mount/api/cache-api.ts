import * as v from 'valibot';
import type { CachedBlob } from '../../cache/quota/inventory.js';

/**
 * The part of the daemon's API (`api.ts`) that looks after the cache.
 *
 *     GET    /v1/cache                          CacheListing
 *     POST   /v1/cache/verify                   CacheVerification
 *     POST   /v1/cache/prune    PruneRequest    CachePruned
 *     POST   /v1/cache/pins     PinRequest      CachePins
 */
export const pruneRequestSchema = v.strictObject({
  /** Everything that no mount uses, not only what no known image needs. */
  all: v.optional(v.boolean()),
  /** What was not used for so many seconds. */
  olderThan: v.optional(v.pipe(v.number(), v.minValue(0))),
  /** The least recently used, until the cache has no more than so many bytes. */
  maxBytes: v.optional(v.pipe(v.number(), v.minValue(0))),
});

export type PruneRequest = v.InferOutput<typeof pruneRequestSchema>;

export const pinRequestSchema = v.strictObject({
  /** Canonical text of an image reference, or a blob id. */
  target: v.pipe(v.string(), v.minLength(1), v.maxLength(8192)),
  pinned: v.boolean(),
});

export type PinRequest = v.InferOutput<typeof pinRequestSchema>;

export interface CacheListing {
  /** Directory of the cache. */
  dir: string;
  /** Bytes on the local disk of all blobs. */
  localBytes: number;
  /** The least recently used first. `images` are the references of known images that use the blob. */
  blobs: (CachedBlob & { images: string[] })[];
}

export interface CacheVerification {
  /** Chunks that were read again, and their decoded bytes. */
  chunks: number;
  bytes: number;
  /** Chunks that were damaged, and dropped: they are fetched again when they are read. */
  damaged: number;
  /** Chunks that an unclean stop left unfinished: dropped, too. */
  unfinished: number;
  /** Blobs with damaged chunks, or with a damaged map. */
  damagedBlobs: string[];
}

export interface CachePruned {
  /** Names of the blobs that were removed. */
  blobs: string[];
  /** References of images that must be asked for at the registry again. */
  images: string[];
  /** Other files that were removed. */
  files: number;
  /** Bytes that all of it had. */
  bytes: number;
}

export interface CachePins {
  /** Ids of the blobs that are pinned now, or not any more. */
  blobs: string[];
}
