import { DIRENT_SIZE, type Dirent, encodeDirentBlock } from './dirent.js';
import { alignUp, BLOCK_SIZE } from './limits.js';

/** Walks `names` (in stored order) as they fill blocks; `place` gets each one's position and the block it opens. */
function fill(names: readonly { name: Buffer }[]): { size: number; blockStarts: number[] } {
  let size = 0;
  const blockStarts: number[] = [];
  names.forEach(({ name }, i) => {
    const need = DIRENT_SIZE + name.length;
    if ((size % BLOCK_SIZE) + need > BLOCK_SIZE) size = alignUp(size, BLOCK_SIZE);
    if (size % BLOCK_SIZE === 0) blockStarts.push(i);
    size += need;
  });
  return { size, blockStarts };
}

/** i_size of a directory with these entries, "." and ".." included: entries, names, and gaps at the ends of blocks. */
export function directorySize(entries: readonly { name: Buffer }[]): number {
  return fill(entries).size;
}

/** Encodes the directory's blocks; `offsetOf(b)` is where block `b` goes in `target`. */
export function encodeDirectory(
  entries: readonly Dirent[],
  target: Buffer,
  offsetOf: (block: number) => number,
): void {
  const { blockStarts } = fill(entries);
  blockStarts.forEach((start, b) => {
    encodeDirentBlock(entries.slice(start, blockStarts[b + 1]), target, offsetOf(b));
  });
}
