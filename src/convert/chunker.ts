import type { ChunkBuffers } from './chunk-buffers.js';
import { HOLE } from './tar-sparse.js';

/**
 * Cuts a file's bytes into pieces of exactly `chunkSize`, the last one shorter. A piece that came in one buffer is a slice of it;
 * otherwise the bytes are gathered in one of `buffers`, which the caller gives back when it is done with the piece. A hole of
 * HOLE's size is handed on as HOLE itself.
 */
export async function* cutChunks(
  body: AsyncIterable<Buffer>,
  size: number,
  { chunkSize, buffers }: { chunkSize: number; buffers: ChunkBuffers },
): AsyncGenerator<Buffer> {
  let left = size;
  let gathered: Buffer | undefined;
  let filled = 0;
  for await (const piece of body) {
    if (piece === HOLE && filled === 0 && piece.length === chunkSize) {
      left -= piece.length;
      yield HOLE;
      continue;
    }
    for (let at = 0; at < piece.length; ) {
      const wanted = Math.min(chunkSize, left);
      const taken = Math.min(wanted - filled, piece.length - at);
      const slice = piece.subarray(at, at + taken);
      at += taken;
      if (taken < wanted) {
        gathered ??= buffers.take();
        filled += slice.copy(gathered, filled);
        if (filled < wanted) continue;
      }
      left -= wanted;
      yield gathered ? gathered.subarray(0, wanted) : slice;
      gathered = undefined;
      filled = 0;
    }
  }
}
