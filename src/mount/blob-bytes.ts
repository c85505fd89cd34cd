import { setTimeout as sleep } from 'node:timers/promises';
import type { BlobBytes } from '../cache/blob-bytes.js';
import { isRafterError } from '../errors.js';
import type { Descriptor } from '../image/descriptor.js';
import type { ImageSource } from '../image/source.js';
import { RegistryError } from '../registry/error.js';
import type { MountStats } from './api/api.js';
import type { Meters } from './meters.js';
import { DEFAULT_READ_TIMEOUT } from './read-timeout.js';

/** How soon a registry is asked again that the client has given up, in milliseconds: readers wait for it to come back. */
const PAUSE_MS = 1000;

export interface BlobBytesOptions {
  stats: MountStats;
  meters: Meters;
  /** How long readers wait, in seconds: so long a registry may be away. */
  readTimeout?: number | undefined;
}

/**
 * Stored bytes of one blob, from one image's registry; counts in `stats` and `meters` what is fetched. Goes on asking while
 * readers wait, also with a log-in that is not good any more, then throws what the registry said last.
 */
export function blobBytesOf(
  source: ImageSource,
  descriptor: Descriptor,
  { stats, meters, readTimeout = DEFAULT_READ_TIMEOUT }: BlobBytesOptions,
): BlobBytes {
  return {
    name: `${source.name}: ${descriptor.digest}`,
    host: source.place?.registry,
    get pieceBytes() {
      const { pieceBytes } = source;
      return pieceBytes !== undefined && descriptor.size > pieceBytes ? pieceBytes : undefined;
    },
    async read(offset, length, signal, urgency) {
      const end = performance.now() + readTimeout * 1000;
      let refusals = 0;
      for (;;) {
        stats.requests++;
        try {
          const bytes = await meters.measureFetch(
            source.readBlobRange(descriptor, offset, length, signal, urgency),
          );
          stats.fetchedBytes += bytes.length;
          return bytes;
        } catch (error) {
          const isRefused = isLoginRefused(error);
          if (signal?.aborted || !isRafterError(error) || !(error.temporary || isRefused)) throw error;
          const asked = error instanceof RegistryError ? (error.retryAfterMs ?? 0) : 0;
          // Who sends a wrong password too often may be locked out.
          const pause = Math.max(PAUSE_MS * (isRefused ? 2 ** refusals++ : 1), asked);
          // So that readers are told this reason before they are told that it took too long.
          if (performance.now() + pause >= end) throw error;
          await sleep(pause, undefined, { signal }).catch(() => {});
          if (signal?.aborted) throw error;
        }
      }
    },
    distrust: (bytes) => source.distrust?.(bytes) ?? false,
    onCopied(bytes) {
      stats.copiedBytes += bytes;
    },
  };
}

/** The log-in was good when the image was mounted: where it is changed, the new one reaches this machine some time after the registry. */
function isLoginRefused(error: unknown): boolean {
  return error instanceof RegistryError && error.status === 401;
}
