/** Where the decoded bytes of a blob may be read at once. */
export interface ReadPlaces {
  /** Number of chunks; where chunk `index` lies, ascending. */
  count: number;
  offset(index: number): number;
  size(index: number): number;
  /** True if the chunk is in the data file, verified. */
  isLocal(index: number): boolean;
  /** Fills `target` from the data file; false if that fails. */
  fromFile(offset: number, target: Buffer): boolean;
  /** Fills `target` from what has come of the start-up pack; false if not all of it has. */
  fromPieces(offset: number, target: Buffer): boolean;
}

/**
 * Fills the chunks in `target`, which stands for decoded bytes from `offset`, whose first chunk is `first`: those that are local from
 * the data file, of the others what is asked for from the pieces. Gaps between chunks are not touched. False if something is
 * in neither; then `target` holds anything.
 */
export function composeRead(offset: number, target: Buffer, first: number, places: ReadPlaces): boolean {
  const end = offset + target.length;
  const isInside = (index: number) => index < places.count && places.offset(index) < end;
  for (let index = first; isInside(index); ) {
    const from = Math.max(offset, places.offset(index));
    const isLocal = places.isLocal(index);
    let last = index;
    while (isLocal && isInside(last + 1) && places.isLocal(last + 1)) last++;
    const to = Math.min(end, places.offset(last) + places.size(last));
    const part = target.subarray(from - offset, to - offset);
    if (!(isLocal ? places.fromFile(from, part) : places.fromPieces(from, part))) return false;
    index = last + 1;
  }
  return true;
}
