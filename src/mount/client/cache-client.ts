import { join } from 'node:path';
import { CacheStore } from '../../cache/store.js';
import { callDaemon, DaemonGoneError } from '../api/api-client.js';
import type { CacheListing, CachePins, CachePruned, CacheVerification } from '../api/cache-api.js';
import { type CacheService, createCacheService } from '../daemon/cache-service.js';
import { openImageStore } from '../image/image-store.js';
import { daemonStatus } from './client.js';
import { runFiles } from './run-dir.js';

export interface CachePlace {
  /** Run directory of the daemon that may run; absolute. */
  runDir: string;
  /** Data root; absolute. */
  dataRoot: string;
  signal?: AbortSignal | undefined;
}

/**
 * Lets `use` look after the cache of a data root: through the daemon if one runs for both directories, else in this process,
 * which keeps daemons away meanwhile. Throws BUSY if another daemon uses the data root, and what the service throws.
 */
export async function withCacheService<T>(
  place: CachePlace,
  use: (service: CacheService) => Promise<T>,
): Promise<T> {
  const { runDir, dataRoot, signal } = place;
  const status = await daemonStatus({ runDir, signal });
  if (status?.dataRoot === dataRoot) {
    try {
      return await use(daemonService(place));
    } catch (error) {
      // It ended just now: nothing was done.
      if (!(error instanceof DaemonGoneError)) throw error;
    }
  }
  const store = openImageStore(join(dataRoot, 'images'));
  const cache = await CacheStore.open(join(dataRoot, 'cache'));
  try {
    return await use(createCacheService({ cache, dataRoot, store, mounted: () => [] }));
  } finally {
    await cache.close();
  }
}

function daemonService({ runDir, signal }: CachePlace): CacheService {
  const { socket } = runFiles(runDir);
  return {
    list: () => callDaemon<CacheListing>(socket, 'GET /v1/cache', { signal }),
    verify: () => callDaemon<CacheVerification>(socket, 'POST /v1/cache/verify', { signal }),
    prune: (body) => callDaemon<CachePruned>(socket, 'POST /v1/cache/prune', { body, signal }),
    pin: (body) => callDaemon<CachePins>(socket, 'POST /v1/cache/pins', { body, signal }),
  };
}
