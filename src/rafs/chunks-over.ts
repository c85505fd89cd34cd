import type { BlobChunk } from './blob-meta.js';
import type { ChunkMap } from './bootstrap.js';

/** The chunks of a blob that overlap `length` bytes from `offset` of its decoded address space, in order. Of what lies behind the blob there are none. */
export function chunksOver(map: ChunkMap, offset: number, length: number): BlobChunk[] {
  const chunks: BlobChunk[] = [];
  for (let index = map.chunkAtDecoded(offset); index < map.chunkCount; index++) {
    const chunk = map.chunk(index);
    if (chunk.decodedOffset >= offset + length) break;
    chunks.push(chunk);
  }
  return chunks;
}
