import type { ChunkMap } from '../rafs/bootstrap.js';
import { chunksOver } from '../rafs/chunks-over.js';
import type { Touch } from './trace.js';

/** What of one blob's chunks a trace touched. */
export interface ChunkUse {
  /** Chunks that were touched, their decoded bytes, and the stored bytes of the units that hold them. */
  chunks: number;
  chunkBytes: number;
  storedBytes: number;
  /** Decoded ranges that came with what readers waited for, ascending: whole chunks, and what shares a compressed unit with them. */
  fetched: { start: number; end: number }[];
}

/** What `touches`, all of one blob, mean in its chunks. */
export function chunkUse(map: ChunkMap, touches: readonly Touch[]): ChunkUse {
  const chunks = new Set<number>();
  const units = new Map<number, number>();
  const fetched = new Map<number, { start: number; end: number }>();
  let chunkBytes = 0;
  for (const { offset, length, from } of touches) {
    for (const chunk of chunksOver(map, offset, length)) {
      const { index } = chunk;
      if (!chunks.has(index)) {
        chunks.add(index);
        chunkBytes += chunk.size;
        units.set(chunk.storedOffset, chunk.batch?.storedSize ?? chunk.storedSize);
      }
      if (from === 'fetch')
        for (const { decodedOffset, size } of unitMembers(map, index))
          fetched.set(decodedOffset, { start: decodedOffset, end: decodedOffset + size });
    }
  }
  return {
    chunks: chunks.size,
    chunkBytes,
    storedBytes: [...units.values()].reduce((sum, size) => sum + size, 0),
    fetched: [...fetched.values()].sort((a, b) => a.start - b.start),
  };
}

/** The chunks that are stored in one unit with chunk `index`: itself, or its batch. */
function* unitMembers(map: ChunkMap, index: number) {
  const chunk = map.chunk(index);
  yield chunk;
  if (chunk.batch === undefined) return;
  const unit = chunk.batch.index;
  for (const step of [-1, 1])
    for (let next = index + step; next >= 0 && next < map.chunkCount; next += step) {
      const member = map.chunk(next);
      if (member.batch?.index !== unit || member.storedOffset !== chunk.storedOffset) break;
      yield member;
    }
}
