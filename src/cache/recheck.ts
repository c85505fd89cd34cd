import type { BlobLayout, ChunkInfo } from './layout.js';
import type { BlobStorage } from './storage/blob-storage.js';
import { isChunk } from './unit.js';

/** Looks again at those of `chunks` whose bytes an unclean stop may have left torn: they are present afterwards, or absent. */
export async function recheckSuspects(
  storage: BlobStorage | undefined,
  layout: BlobLayout,
  chunks: readonly ChunkInfo[],
): Promise<void> {
  const suspects = chunks.filter(({ index }) => storage?.isSuspect(index));
  await Promise.all(
    suspects.map(async (chunk) => {
      const digest = layout.chunkDigest(chunk.index);
      if (digest) await storage?.recheck(chunk, digest, (bytes) => isChunk(layout, chunk, bytes));
    }),
  );
}
