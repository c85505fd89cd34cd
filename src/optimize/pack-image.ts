import pLimit from 'p-limit';
import type { BlobCache } from '../cache/blob-cache.js';
import type { BlobLayout } from '../cache/layout.js';
import { chunksOver } from '../rafs/chunks-over.js';
import { PackWriter, type WrittenPack } from '../startup/pack-writer.js';
import { type BlobRange, planPieces } from '../startup/plan.js';
import { MAX_UNIT_SIZE } from '../startup/table.js';
import type { Trace } from '../trace/trace.js';

/** Reads under way at the same time. */
const READS = 8;

/**
 * Two ranges with at most so many bytes between them become one. A hole of a few pages costs little in the pack, and a request of the
 * kernel that reaches into it would cost a chunk.
 */
const FILL_GAP = 16 << 10;

export interface PackOptions {
  signal?: AbortSignal | undefined;
  /** Hears of decoded bytes that were packed. */
  onProgress?: ((done: number, total: number) => void) | undefined;
}

/**
 * The start-up pack of what `trace` touched, in its order. `blobs` are those of the image, which are the trace's: what is needed of them
 * is read, verified, and nothing else. Throws what reading throws, and LIMIT_EXCEEDED for more than a pack can hold.
 */
export async function packImage(
  trace: Trace,
  blobs: readonly BlobCache[],
  { signal, onProgress }: PackOptions = {},
): Promise<WrittenPack> {
  const blobSizes = blobs.map(({ layout }) => layout.decodedSize);
  const planned = planPieces(trace.touches, { fillGap: FILL_GAP, blobSizes });
  const pieces = planned.flatMap((piece) => usedParts(piece, blobs[piece.blob]!.layout)).flatMap(inReads);
  const total = pieces.reduce((sum, { length }) => sum + length, 0);
  const writer = new PackWriter({ readAhead: trace.readAheadKiB ?? 0 });
  const limit = pLimit(READS);
  const read = (piece: BlobRange) =>
    limit(async () => {
      const bytes = Buffer.allocUnsafe(piece.length);
      await blobs[piece.blob]!.read(piece.offset, bytes, signal);
      return bytes;
    });
  let done = 0;
  // Reads go side by side, pieces in order; no more than some MiB wait for their turn.
  for (let at = 0; at < pieces.length; at += READS) {
    const group = pieces.slice(at, at + READS);
    const contents = await Promise.all(group.map(read));
    for (const [i, bytes] of contents.entries()) {
      const { blob, offset } = group[i]!;
      writer.add(blobs[blob]!.layout.id, offset, bytes);
      done += bytes.length;
      onProgress?.(done, total);
    }
  }
  return writer.finish();
}

/** What of `piece` is not of chunks that no file of the image has: those have no digest, and nobody asks for them. */
function usedParts({ blob, offset, length }: BlobRange, layout: BlobLayout): BlobRange[] {
  const end = offset + length;
  const parts: BlobRange[] = [];
  let start = offset;
  for (const { index, decodedOffset, size } of chunksOver(layout, offset, length)) {
    if (layout.chunkDigest(index) !== undefined) continue;
    if (decodedOffset > start) parts.push({ blob, offset: start, length: decodedOffset - start });
    start = decodedOffset + size;
  }
  if (start < end) parts.push({ blob, offset: start, length: end - start });
  return parts;
}

/** A piece in parts of at most a unit, so that what is read at once stays small. */
function inReads({ blob, offset, length }: BlobRange): BlobRange[] {
  const parts: BlobRange[] = [];
  for (let done = 0; done < length; done += MAX_UNIT_SIZE)
    parts.push({ blob, offset: offset + done, length: Math.min(length - done, MAX_UNIT_SIZE) });
  return parts;
}
