/** What happened to one blob, or to all blobs of a store, since it was opened. */
export interface CacheStats {
  /** Chunks that a read found on the local disk. */
  hits: number;
  /** Chunks that a read had to fetch, or to wait for. */
  misses: number;
  /** Range requests to the source. */
  requests: number;
  /** Stored bytes that the source gave. */
  fetchedBytes: number;
  /** Chunks that were copied from another blob of the cache instead. */
  copied: number;
  /** Fetched units (a chunk or a batch) that had the wrong length, did not decode or did not match their digests. */
  decodeErrors: number;
  /** Requests made again because of a decode error. */
  refetches: number;
  /** Decoded bytes written to the data file. */
  storedBytes: number;
  /** Chunks found damaged or unreadable in the data file, and dropped. */
  dropped: number;
  /** Chunks given back to make room. */
  evicted: number;
  /** Chunks that were served but not kept, because there was no room for them. */
  notKept: number;
  /** Failed writes to the cache directory. */
  writeErrors: number;
}

/** All counters at zero. */
export function noStats(): CacheStats {
  return {
    hits: 0,
    misses: 0,
    requests: 0,
    fetchedBytes: 0,
    copied: 0,
    decodeErrors: 0,
    refetches: 0,
    storedBytes: 0,
    dropped: 0,
    evicted: 0,
    notKept: 0,
    writeErrors: 0,
  };
}

/** Adds the counters of `more` to `sum`. */
export function addStats(sum: CacheStats, more: CacheStats): void {
  for (const key of Object.keys(sum) as (keyof CacheStats)[]) sum[key] += more[key];
}
