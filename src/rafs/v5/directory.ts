import { malformed } from '../binary.js';
import type { DirectoryEntry } from '../directory.js';
import { type InodeV5, inoOf, ROOT_INO, readInodeV5, recordOffset, type V5Image } from './inode.js';
import { nameAt } from './inode-parts.js';

const DOT = Buffer.from('.');
const DOT_DOT = Buffer.from('..');

/**
 * The names in `dir` in byte order. "." and "..", which RAFS v5 does not store, are where they belong. MALFORMED if names are
 * not strictly ascending, or a name is not in this directory by its own account.
 */
export function* readChildren(image: V5Image, dir: InodeV5): Generator<DirectoryEntry> {
  const dots: DirectoryEntry[] = [
    { name: DOT, nid: dir.nid, type: 'dir' },
    { name: DOT_DOT, nid: parentOf(dir), type: 'dir' },
  ];
  let previous: Buffer | undefined;
  for (let i = 0; i < dir.childCount; i++) {
    const { nid, type, offset, parent } = readInodeV5(image, dir.childIndex + i);
    const fileName = nameAt(image.bytes, offset);
    const wrong = (problem: string) => malformed(image.name, `directory ${dir.nid}`, offset, problem);
    if (parent !== dir.nid) throw wrong(`a name in it is in directory ${parent}`);
    if (previous && Buffer.compare(previous, fileName) >= 0) throw wrong('names are out of order');
    while (dots[0] && Buffer.compare(dots[0].name, fileName) < 0) yield dots.shift()!;
    yield { name: fileName, nid, type };
    previous = fileName;
  }
  yield* dots;
}

/** Number of `name` in `dir`, "." and ".." included; undefined if it is not there. */
export function findChild(image: V5Image, dir: InodeV5, name: Buffer): number | undefined {
  if (name.equals(DOT)) return dir.nid;
  if (name.equals(DOT_DOT)) return parentOf(dir);
  let low = dir.childIndex;
  let high = dir.childIndex + dir.childCount - 1;
  while (low <= high) {
    const middle = (low + high) >>> 1;
    const order = Buffer.compare(nameAt(image.bytes, recordOffset(image, middle)), name);
    if (order === 0) return inoOf(image, middle);
    if (order < 0) low = middle + 1;
    else high = middle - 1;
  }
  return undefined;
}

function parentOf({ nid, parent }: InodeV5): number {
  return nid === ROOT_INO ? ROOT_INO : parent;
}
