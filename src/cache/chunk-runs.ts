import type { ChunkInfo } from './layout.js';

/** The first decoded byte behind a chunk. */
export function endOf({ decodedOffset, size }: ChunkInfo): number {
  return decodedOffset + size;
}

/** Chunks that were not fetched, those without a fetched one between them together. */
export function localRuns(chunks: ChunkInfo[], fetched: Map<ChunkInfo, Buffer>): ChunkInfo[][] {
  const runs: ChunkInfo[][] = [];
  let adjacent = false;
  for (const chunk of chunks) {
    const local = !fetched.has(chunk);
    if (local && adjacent) runs.at(-1)!.push(chunk);
    else if (local) runs.push([chunk]);
    adjacent = local;
  }
  return runs;
}

/** Zeros wherever `target`, which stands for decoded bytes from `offset`, has none of `chunks` (all that overlap it). */
export function fillGaps(chunks: ChunkInfo[], offset: number, target: Buffer): void {
  let done = 0;
  for (const chunk of chunks) {
    const start = chunk.decodedOffset - offset;
    if (start > done) target.fill(0, done, start);
    done = Math.max(done, endOf(chunk) - offset);
  }
  if (done < target.length) target.fill(0, done);
}
