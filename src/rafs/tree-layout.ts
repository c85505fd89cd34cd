import { CHUNK_ARRAY_ALIGNMENT, CHUNK_ENTRY_SIZE } from './chunk-index.js';
import { directorySize } from './directory-layout.js';
import { EXTENDED_INODE_SIZE } from './inode.js';
import { alignUp } from './limits.js';
import { Placement } from './placement.js';
import type { Inode, TreeNode, Xattr } from './tree.js';
import { checkInode, checkName } from './tree-check.js';
import { xattrAreaSize } from './xattr.js';

/** An inode with its place. Offsets are bytes from the start of the meta area. */
export interface PlacedInode {
  inode: Inode;
  /** Sorted by name, so that the same tree always gives the same bytes. */
  xattrs: readonly Xattr[];
  offset: number;
  /** Bytes of the inode with its xattrs. */
  headSize: number;
  /** i_size. */
  size: number;
  /** Running number of its first name; nothing reads it. */
  ino: number;
  nlink: number;
  /** Directories and symlinks: see `FlatPlace`. */
  dataOffset: number;
  inline: boolean;
  /** Directories: the children with "." and "..", in byte order of their names. */
  entries: PlacedEntry[];
}

/** A name in a placed directory. */
interface PlacedEntry {
  name: Buffer;
  /** Undefined for "." and "..". */
  node: TreeNode | undefined;
  to: PlacedInode;
}

/** A placed tree. */
export interface TreeLayout {
  /** Every inode once: a directory, its other children, then the same for each child directory. */
  inodes: PlacedInode[];
  root: PlacedInode;
  /** Names, the root included; a hard link counts each time. */
  nameCount: number;
  /** Bytes of the meta area. */
  size: number;
}

/** A directory that has a number but no place yet. */
interface Pending {
  node: TreeNode;
  ino: number;
  /** The entry that names it, and its parent; undefined for the root. */
  above: { entry: PlacedEntry; directory: PlacedInode; pending: Pending } | undefined;
}

/**
 * Gives every inode of the tree below `root` its place and number, in the order of the Nydus builder. `chunkSize` is that
 * of the image. Throws LIMIT_EXCEEDED or UNSUPPORTED, naming the path, for what RAFS v6 cannot hold.
 */
export function layOutTree(root: TreeNode, chunkSize: number): TreeLayout {
  const placement = new Placement();
  const inodes: PlacedInode[] = [];
  const files = new Map<Inode, PlacedInode>();
  let nameCount = 1;
  // A stack instead of recursion: a tree may be deeper than the call stack.
  const stack: Pending[] = [{ node: root, ino: nameCount, above: undefined }];
  for (let pending = stack.pop(); pending; pending = stack.pop()) {
    const dir = pending;
    checkInode(dir.node.inode, chunkSize, () => pathOf(dir));
    const directory = placeDirectory(dir, placement);
    inodes.push(directory);
    const below: Pending[] = [];
    for (const entry of directory.entries) {
      if (!entry.node) continue;
      const { name, inode } = entry.node;
      checkName(name, () => pathOf(dir, name));
      const ino = ++nameCount;
      if (inode.type === 'dir') {
        below.push({ node: entry.node, ino, above: { entry, directory, pending: dir } });
        continue;
      }
      const known = files.get(inode);
      if (known) {
        known.nlink++;
        entry.to = known;
        continue;
      }
      checkInode(inode, chunkSize, () => pathOf(dir, name));
      entry.to = placeLeaf(inode, ino, placement);
      files.set(inode, entry.to);
      inodes.push(entry.to);
    }
    directory.nlink = 2 + below.length;
    stack.push(...below.reverse());
  }
  return { inodes, root: inodes[0]!, nameCount, size: placement.end };
}

function placeDirectory({ node, ino, above }: Pending, placement: Placement): PlacedInode {
  const names = sortedNames(node.children);
  const placed = newPlaced(node.inode, ino);
  placed.size = directorySize(names);
  placeFlat(placed, placement);
  // A child's target is set when the child is placed; until then, as for ".", it is the directory itself.
  placed.entries = names.map(({ name, node: child }) => {
    const isParent = !child && name.length === 2;
    return { name, node: child, to: isParent && above ? above.directory : placed };
  });
  if (above) above.entry.to = placed;
  return placed;
}

/** Children with "." and "..", in byte order: the order of JavaScript strings is that of bytes read as latin1. */
function sortedNames(
  children: ReadonlyMap<string, TreeNode> = new Map(),
): { name: Buffer; node: TreeNode | undefined }[] {
  const keys = [...children.keys(), '.', '..'].sort();
  return keys.map((key) => {
    const node = children.get(key);
    const name = node ? node.name : Buffer.from(key, 'latin1');
    if (name.toString('latin1') !== key) throw new Error(`the name "${name}" is filed under "${key}"`);
    return { name, node };
  });
}

function placeLeaf(inode: Exclude<Inode, { type: 'dir' }>, ino: number, placement: Placement): PlacedInode {
  const placed = newPlaced(inode, ino);
  if (inode.type === 'file') {
    placed.size = inode.size;
    const indexSize = inode.chunks.length * CHUNK_ENTRY_SIZE;
    placed.offset = placement.placeFile(alignUp(placed.headSize, CHUNK_ARRAY_ALIGNMENT) + indexSize);
  } else if (inode.type === 'symlink') {
    placed.size = inode.target.length;
    placeFlat(placed, placement);
  } else {
    placed.offset = placement.placeSpecial(placed.headSize);
  }
  return placed;
}

function placeFlat(placed: PlacedInode, placement: Placement): void {
  const { offset, dataOffset, inline } = placement.placeFlat(placed.headSize, placed.size);
  placed.offset = offset;
  placed.dataOffset = dataOffset;
  placed.inline = inline;
}

const NO_ENTRIES: PlacedEntry[] = [];

/** An inode without a place. One literal for all kinds: objects of one shape keep the builder fast. */
function newPlaced(inode: Inode, ino: number): PlacedInode {
  const xattrs = sortXattrs(inode.xattrs);
  const headSize = EXTENDED_INODE_SIZE + xattrAreaSize(xattrs);
  return {
    inode,
    xattrs,
    offset: 0,
    headSize,
    size: 0,
    ino,
    nlink: 1,
    dataOffset: 0,
    inline: false,
    entries: NO_ENTRIES,
  };
}

function sortXattrs(xattrs: readonly Xattr[]): readonly Xattr[] {
  return xattrs.length < 2 ? xattrs : [...xattrs].sort((a, b) => Buffer.compare(a.name, b.name));
}

function pathOf(dir: Pending, ...names: Buffer[]): string {
  const parts = names.map(String);
  for (let at = dir; at.above; at = at.above.pending) parts.unshift(String(at.node.name));
  return `/${parts.join('/')}`;
}
