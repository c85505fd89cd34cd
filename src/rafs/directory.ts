import { malformed } from './binary.js';
import { type DirentBlock, direntName, direntNid, direntType, openDirentBlock } from './dirent.js';
import type { DiskInode, InodeArea } from './disk-inode.js';
import type { InodeType } from './tree.js';

/** One name of a directory. */
export interface DirectoryEntry {
  /** A view of the bootstrap: copy it to keep it longer than the bootstrap. */
  name: Buffer;
  nid: number;
  type: InodeType;
}

/** All entries in stored order, with "." and "..". MALFORMED if names are not strictly ascending by their bytes. */
export function* readDirectory(area: InodeArea, dir: DiskInode): Generator<DirectoryEntry> {
  let previous: Buffer | undefined;
  for (let b = 0; b * area.blockSize < dir.size; b++) {
    const block = directoryBlock(area, dir, b);
    for (let i = 0; i < block.count; i++) {
      const name = direntName(block, i);
      if (previous && Buffer.compare(previous, name) >= 0) {
        throw malformed(area.name, `directory ${dir.nid}`, block.start, `"${name}" is out of order`);
      }
      previous = name;
      yield { name, nid: direntNid(block, i), type: direntType(block, i) };
    }
  }
}

/** nid of `name` in `dir`, undefined if it is not there. Binary search, first over blocks, then inside one. */
export function findInDirectory(area: InodeArea, dir: DiskInode, name: Buffer): number | undefined {
  let low = 0;
  let high = Math.ceil(dir.size / area.blockSize) - 1;
  while (low < high) {
    const middle = (low + high + 1) >>> 1;
    if (Buffer.compare(direntName(directoryBlock(area, dir, middle), 0), name) <= 0) low = middle;
    else high = middle - 1;
  }
  return high < 0 ? undefined : findInBlock(directoryBlock(area, dir, low), name);
}

function findInBlock(block: DirentBlock, name: Buffer): number | undefined {
  let low = 0;
  let high = block.count - 1;
  while (low <= high) {
    const middle = (low + high) >>> 1;
    const order = Buffer.compare(direntName(block, middle), name);
    if (order === 0) return direntNid(block, middle);
    if (order < 0) low = middle + 1;
    else high = middle - 1;
  }
  return undefined;
}

function directoryBlock(area: InodeArea, dir: DiskInode, b: number): DirentBlock {
  const from = b * area.blockSize;
  const size = Math.min(area.blockSize, dir.size - from);
  const start = size < area.blockSize && dir.tailOffset >= 0 ? dir.tailOffset : dir.dataOffset + from;
  return openDirentBlock(area.bytes, start, start + size, area.name);
}
