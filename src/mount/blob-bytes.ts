import type { BlobBytes } from '../cache/blob-bytes.js';
import type { Descriptor } from '../image/descriptor.js';
import type { ImageSource } from '../image/source.js';
import type { MountStats } from './api.js';
import type { Meters } from './meters.js';

/** Stored bytes of one blob, from one image's registry; counts in `stats` and `meters` what is fetched. */
export function blobBytesOf(
  source: ImageSource,
  descriptor: Descriptor,
  { stats, meters }: { stats: MountStats; meters: Meters },
): BlobBytes {
  return {
    name: `${source.name}: ${descriptor.digest}`,
    async read(offset, length, signal) {
      stats.requests++;
      const bytes = await meters.measureFetch(source.readBlobRange(descriptor, offset, length, signal));
      stats.fetchedBytes += bytes.length;
      return bytes;
    },
    distrust: (bytes) => source.distrust?.(bytes),
  };
}
