import type { BlobLayout, ChunkInfo } from '../layout.js';
import { unitPlaceOf } from '../unit.js';

/** Most chunks that are looked at on each side of one that is wanted. */
const MAX_LOOKED_AT = 4096;

/**
 * Chunks that lie whole in the windows of `pieceBytes` stored bytes which hold `chunks` (ascending), without `chunks` themselves: where
 * bytes come in pieces, they cost nothing more. Ascending, each once. Those that share a unit with one of `chunks` may be among them.
 */
export function companionsOf(
  layout: BlobLayout,
  chunks: readonly ChunkInfo[],
  pieceBytes: number,
): ChunkInfo[] {
  const wanted = new Set(chunks.map(({ index }) => index));
  const found = new Map<number, ChunkInfo>();
  for (const chunk of chunks) {
    const { start, end } = windowOf(chunk, pieceBytes);
    for (const step of [1, -1]) {
      const last = step === 1 ? layout.chunkCount : -1;
      for (let index = chunk.index + step, looked = 0; index !== last; index += step) {
        // Whoever found the one found what is behind it, too, or will.
        if (wanted.has(index) || found.has(index) || looked++ === MAX_LOOKED_AT) break;
        const neighbour = layout.chunk(index);
        const { storedOffset, storedSize } = unitPlaceOf(neighbour);
        if (storedOffset < start || storedOffset + storedSize > end) break;
        found.set(index, neighbour);
      }
    }
  }
  return [...found.values()].sort((a, b) => a.index - b.index);
}

/** The aligned window around a chunk's unit. */
function windowOf(chunk: ChunkInfo, pieceBytes: number): { start: number; end: number } {
  const { storedOffset, storedSize } = unitPlaceOf(chunk);
  return {
    start: storedOffset - (storedOffset % pieceBytes),
    end: Math.ceil((storedOffset + storedSize) / pieceBytes) * pieceBytes,
  };
}
