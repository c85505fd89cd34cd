import { CHUNK_ARRAY_ALIGNMENT, CHUNK_ENTRY_SIZE } from './chunk-index.js';
import { directorySize } from './directory-layout.js';
import { EXTENDED_INODE_SIZE, INODE_SLOT } from './inode.js';
import { alignUp, BLOCK_SIZE } from './limits.js';
import { Placement } from './placement.js';
import type { Inode, TreeNode } from './tree.js';
import { checkInode, checkName } from './tree-check.js';
import { xattrAreaSize } from './xattr.js';

/** Names and targets of a placed directory. */
interface PlacedDirectory {
  /** With "." and "..", in byte order; bytes as latin1 text. */
  names: string[];
  /** For each name the inode's position in the layout. */
  targets: Uint32Array;
  /** i_size. */
  size: number;
}

/**
 * A placed tree. Inodes go by their position in `inodes`; the columns are as long as the tree has names, of which hard links
 * leave some unused. Columns instead of objects: an image may have some millions of inodes.
 */
export interface TreeLayout {
  /** Every inode once: a directory (first the root), its other children, then the same for each child directory. */
  inodes: Inode[];
  /** Places of the inodes, in slots of INODE_SLOT bytes from the start of the meta area. */
  slots: Float64Array;
  /** Directories and symlinks: see `FlatPlace`; blocks of BLOCK_SIZE from the start of the meta area. */
  dataBlocks: Uint32Array;
  inline: Uint8Array;
  /** Running numbers of the inodes' first names; nothing reads them. */
  inos: Uint32Array;
  nlinks: Uint32Array;
  /** By the directory's position. */
  directories: Map<number, PlacedDirectory>;
  /** Names, the root included; a hard link counts each time. */
  nameCount: number;
  /** Bytes of the meta area. */
  size: number;
}

/** A directory that has a number but no place yet. */
interface Pending {
  node: TreeNode;
  name: string;
  ino: number;
  /** Where it is named: a parent's position, and the place among its names; undefined for the root. */
  above: { pending: Pending; parent: number; entry: number } | undefined;
}

/**
 * Gives every inode of the tree below `root` its place and number, in the order of the Nydus builder. `chunkSize` is that
 * of the image. Throws LIMIT_EXCEEDED or UNSUPPORTED, naming the path, for what RAFS v6 cannot hold.
 */
export function layOutTree(root: TreeNode, chunkSize: number): TreeLayout {
  const placement = new Placement();
  const layout = emptyLayout(countNames(root));
  const { inodes, directories, nlinks } = layout;
  const leaves = new Map<Inode, number>();
  // A stack instead of recursion: a tree may be deeper than the call stack.
  const stack: Pending[] = [{ node: root, name: '', ino: ++layout.nameCount, above: undefined }];
  for (let pending = stack.pop(); pending; pending = stack.pop()) {
    const dir = pending;
    checkInode(dir.node.inode, chunkSize, () => pathOf(dir));
    const self = placeDirectory(layout, dir, placement);
    const { names, targets } = directories.get(self)!;
    const below: Pending[] = [];
    for (const [entry, name] of names.entries()) {
      const node = dir.node.children?.get(name);
      if (!node) continue;
      const { inode } = node;
      checkName(name, () => pathOf(dir, name));
      const ino = ++layout.nameCount;
      if (inode.type === 'dir') {
        below.push({ node, name, ino, above: { pending: dir, parent: self, entry } });
        continue;
      }
      let at = leaves.get(inode);
      if (at === undefined) {
        checkInode(inode, chunkSize, () => pathOf(dir, name));
        at = inodes.length;
        placeLeaf(layout, { inode, ino }, placement);
        leaves.set(inode, at);
      }
      nlinks[at]!++;
      targets[entry] = at;
    }
    nlinks[self] = 2 + below.length;
    for (const directory of below.reverse()) stack.push(directory);
  }
  layout.size = placement.end;
  return layout;
}

function emptyLayout(names: number): TreeLayout {
  return {
    inodes: [],
    slots: new Float64Array(names),
    dataBlocks: new Uint32Array(names),
    inline: new Uint8Array(names),
    inos: new Uint32Array(names),
    nlinks: new Uint32Array(names),
    directories: new Map(),
    nameCount: 0,
    size: 0,
  };
}

function countNames(root: TreeNode): number {
  let count = 1;
  const stack = [root];
  for (let node = stack.pop(); node; node = stack.pop()) {
    count += node.children?.size ?? 0;
    for (const child of node.children?.values() ?? []) if (child.children) stack.push(child);
  }
  return count;
}

function placeDirectory(layout: TreeLayout, { node, ino, above }: Pending, placement: Placement): number {
  const self = layout.inodes.length;
  // Byte order is the order of JavaScript strings that are bytes read as latin1.
  const names = ['.', '..', ...(node.children?.keys() ?? [])].sort();
  const size = directorySize(names);
  const targets = new Uint32Array(names.length);
  targets[names.indexOf('.')] = self;
  targets[names.indexOf('..')] = above?.parent ?? self;
  layout.directories.set(self, { names, targets, size });
  if (above) layout.directories.get(above.parent)!.targets[above.entry] = self;
  placeFlat(layout, { inode: node.inode, ino, size }, placement);
  return self;
}

/** Bytes of an inode with its xattrs. */
export function headSizeOf({ xattrs }: Inode): number {
  return EXTENDED_INODE_SIZE + xattrAreaSize(xattrs);
}

function placeLeaf(
  layout: TreeLayout,
  { inode, ino }: { inode: Exclude<Inode, { type: 'dir' }>; ino: number },
  placement: Placement,
): void {
  if (inode.type === 'symlink') {
    placeFlat(layout, { inode, ino, size: inode.target.length }, placement);
    return;
  }
  const headSize = headSizeOf(inode);
  const offset =
    inode.type === 'file'
      ? placement.placeFile(alignUp(headSize, CHUNK_ARRAY_ALIGNMENT) + inode.chunks.length * CHUNK_ENTRY_SIZE)
      : placement.placeSpecial(headSize);
  add(layout, { inode, ino, offset });
}

function placeFlat(
  layout: TreeLayout,
  { inode, ino, size }: { inode: Inode; ino: number; size: number },
  placement: Placement,
): void {
  const { offset, dataOffset, inline } = placement.placeFlat(headSizeOf(inode), size);
  const at = add(layout, { inode, ino, offset });
  layout.dataBlocks[at] = Math.floor(dataOffset / BLOCK_SIZE);
  layout.inline[at] = inline ? 1 : 0;
}

function add(
  layout: TreeLayout,
  { inode, ino, offset }: { inode: Inode; ino: number; offset: number },
): number {
  const at = layout.inodes.push(inode) - 1;
  layout.slots[at] = offset / INODE_SLOT;
  layout.inos[at] = ino;
  return at;
}

function pathOf(dir: Pending, ...names: string[]): string {
  const parts = [...names];
  for (let at = dir; at.above; at = at.above.pending) parts.unshift(at.name);
  return Buffer.from(`/${parts.join('/')}`, 'latin1').toString();
}
