/** Decoded bytes of one blob. */
export interface BlobRange {
  /** Position in the image's blob table. */
  blob: number;
  offset: number;
  length: number;
}

export interface PlanOptions {
  /**
   * Bytes between two ranges that go along when there are no more than so many: a request of the kernel that reaches into a hole
   * costs a whole chunk.
   */
  fillGap: number;
  /** Decoded bytes of each blob of the table: nothing lies behind. */
  blobSizes: readonly number[];
}

/**
 * Which pieces a start-up pack gets: all that `touches` (in order of first use, disjoint) cover, each where it is used first, with
 * small gaps filled. The result is disjoint, in the order of the pack; neighbours in the blob that follow one another are one piece.
 */
export function planPieces(touches: readonly BlobRange[], options: PlanOptions): BlobRange[] {
  const gaps = findGaps(touches, options);
  const pieces: BlobRange[] = [];
  const add = (piece: BlobRange) => {
    const last = pieces.at(-1);
    if (last?.blob === piece.blob && last.offset + last.length === piece.offset) last.length += piece.length;
    else pieces.push({ ...piece });
  };
  const take = (key: string) => {
    const gap = gaps.get(key);
    // From both sides a gap is the same: who comes first gets it.
    if (gap === undefined) return;
    gaps.delete(startKey(gap));
    gaps.delete(endKey(gap));
    add(gap);
  };
  for (const touch of touches) {
    const range = clipped(touch, options);
    if (range.length <= 0) continue;
    take(endKeyAt(range.blob, range.offset));
    add(range);
    take(startKeyAt(range.blob, range.offset + range.length));
  }
  return pieces;
}

function clipped({ blob, offset, length }: BlobRange, { blobSizes }: PlanOptions): BlobRange {
  return { blob, offset, length: Math.min(length, (blobSizes[blob] ?? 0) - offset) };
}

/** The gaps that are to be filled, each by its start and by its end. */
function findGaps(touches: readonly BlobRange[], options: PlanOptions): Map<string, BlobRange> {
  const ranges = touches.map((touch) => clipped(touch, options)).filter(({ length }) => length > 0);
  ranges.sort((a, b) => a.blob - b.blob || a.offset - b.offset);
  const gaps = new Map<string, BlobRange>();
  for (const [i, { blob, offset }] of ranges.entries()) {
    const before = ranges[i - 1];
    if (before?.blob !== blob) continue;
    const end = before.offset + before.length;
    const length = offset - end;
    if (length <= 0 || length > options.fillGap) continue;
    const gap = { blob, offset: end, length };
    gaps.set(startKey(gap), gap).set(endKey(gap), gap);
  }
  return gaps;
}

const startKeyAt = (blob: number, offset: number) => `${blob}>${offset}`;
const endKeyAt = (blob: number, offset: number) => `${blob}<${offset}`;
const startKey = ({ blob, offset }: BlobRange) => startKeyAt(blob, offset);
const endKey = ({ blob, offset, length }: BlobRange) => endKeyAt(blob, offset + length);
