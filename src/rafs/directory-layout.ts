import { DIRENT_SIZE, type Dirent, encodeDirentBlock } from './dirent.js';
import { alignUp, BLOCK_SIZE } from './limits.js';

/** Told of each block of a directory: the entries [from, to) go into block `block`. */
type BlockVisitor = (block: number, from: number, to: number) => void;

/** Fills blocks with names (bytes as latin1 text, in stored order). Bytes of all of them, gaps at the ends of blocks included. */
function fill(names: readonly string[], onBlock: BlockVisitor): number {
  let size = 0;
  let start = 0;
  for (const [i, name] of names.entries()) {
    const need = DIRENT_SIZE + name.length;
    if ((size % BLOCK_SIZE) + need > BLOCK_SIZE) size = alignUp(size, BLOCK_SIZE);
    if (size % BLOCK_SIZE === 0 && i > 0) {
      onBlock(size / BLOCK_SIZE - 1, start, i);
      start = i;
    }
    size += need;
  }
  if (names.length > 0) onBlock(Math.ceil(size / BLOCK_SIZE) - 1, start, names.length);
  return size;
}

/** i_size of a directory with these names, "." and ".." included: entries, names, and gaps at the ends of blocks. */
export function directorySize(names: readonly string[]): number {
  return fill(names, () => {});
}

/** Encodes the directory's blocks; `offsetOf(b)` is where block `b` goes in `target`. */
export function encodeDirectory(
  names: readonly string[],
  target: Buffer,
  { entry, offsetOf }: { entry: (i: number) => Omit<Dirent, 'name'>; offsetOf: (block: number) => number },
): void {
  fill(names, (block, from, to) => {
    const entries: Dirent[] = [];
    for (let i = from; i < to; i++) entries.push({ ...entry(i), name: names[i]! });
    encodeDirentBlock(entries, target, offsetOf(block));
  });
}
