import type { Fetcher } from '../fetch/fetcher.js';
import type { CacheStats } from '../stats.js';
import type { BlobStorage } from './blob-storage.js';

/** What all views of one blob in this process have in common. */
export interface SharedFiles {
  /** Undefined if the cache directory does not take files: everything is then fetched each time. */
  storage: BlobStorage | undefined;
  fetcher: Fetcher;
  stats: CacheStats;
  /** True if so many bytes can be kept that nobody asked for: without giving back others for them. */
  fits: (bytes: number) => boolean;
}
