import { chunksOver } from '../rafs/chunks-over.js';
import type { BlobLayout, ChunkInfo } from './layout.js';

/** The first decoded byte behind a chunk. */
export function endOf({ decodedOffset, size }: ChunkInfo): number {
  return decodedOffset + size;
}

/** Chunks that are not `served` from elsewhere, those without such a one between them together. */
export function localRuns(chunks: ChunkInfo[], served: (chunk: ChunkInfo) => boolean): ChunkInfo[][] {
  const runs: ChunkInfo[][] = [];
  let adjacent = false;
  for (const chunk of chunks) {
    const local = !served(chunk);
    if (local && adjacent) runs.at(-1)!.push(chunk);
    else if (local) runs.push([chunk]);
    adjacent = local;
  }
  return runs;
}

/** Zeros wherever `target`, which stands for decoded bytes from `offset`, has none of `chunks` (all that overlap it). */
export function fillGaps(chunks: readonly ChunkInfo[], offset: number, target: Buffer): void {
  let done = 0;
  for (const chunk of chunks) {
    const start = chunk.decodedOffset - offset;
    if (start > done) target.fill(0, done, start);
    done = Math.max(done, endOf(chunk) - offset);
  }
  if (done < target.length) target.fill(0, done);
}

/** Copies what of a chunk's `bytes` belongs into `target`, which stands for decoded bytes from `offset`. */
export function placeChunk(
  { decodedOffset }: ChunkInfo,
  bytes: Buffer,
  { offset, target }: { offset: number; target: Buffer },
): void {
  bytes.copy(target, Math.max(0, decodedOffset - offset), Math.max(0, offset - decodedOffset));
}

/** The chunks of `layout` that overlap `length` bytes from decoded `offset`. A range outside of the blob is a RangeError. */
export function chunksIn(layout: BlobLayout, offset: number, length: number): ChunkInfo[] {
  const { id, decodedSize } = layout;
  if (!Number.isSafeInteger(offset) || offset < 0 || offset + length > decodedSize) {
    throw new RangeError(`blob ${id}: read of ${length} bytes at ${offset}, but it has ${decodedSize}`);
  }
  return chunksOver(layout, offset, length);
}
