import type { BlobCache } from '../../cache/blob-cache.js';
import type { PiecePlace } from '../../cache/pieces.js';
import { RafterError } from '../../errors.js';
import { chunksOver } from '../../rafs/chunks-over.js';
import type { PackTable } from '../../startup/table.js';

/**
 * The pieces of each of an image's `blobs` that has some. MALFORMED for pieces of blobs that the image does not have, and for ones
 * that leave them. `name` is the pack's.
 */
export function placesOf(
  { blobs: ids, pieces }: Pick<PackTable, 'blobs' | 'pieces'>,
  blobs: readonly BlobCache[],
  name: string,
): Map<BlobCache, PiecePlace[]> {
  const byId = new Map(blobs.map((blob) => [blob.layout.id, blob]));
  const places = new Map<BlobCache, PiecePlace[]>();
  for (const [index, piece] of pieces.entries()) {
    const id = ids[piece.blob]!;
    const blob = byId.get(id);
    if (blob === undefined)
      throw new RafterError('MALFORMED', `${name}: piece ${index} is of blob ${id}, which the image has not`);
    const end = piece.offset + piece.length;
    const { decodedSize } = blob.layout;
    if (end > decodedSize)
      throw new RafterError(
        'MALFORMED',
        `${name}: piece ${index} ends at ${end} of a blob of ${decodedSize} bytes`,
      );
    const known = places.get(blob);
    if (known === undefined) places.set(blob, [piece]);
    else known.push(piece);
  }
  return places;
}

/** True if every chunk that one of the pieces is of is in the cache, verified. */
export function isAllLocal(places: Map<BlobCache, PiecePlace[]>): boolean {
  for (const [blob, pieces] of places) for (const piece of pieces) if (!isLocal(blob, piece)) return false;
  return true;
}

function isLocal(blob: BlobCache, { offset, length }: PiecePlace): boolean {
  const { layout } = blob;
  return chunksOver(layout, offset, length).every(
    ({ index }) => blob.has(index) || layout.chunkDigest(index) === undefined,
  );
}
