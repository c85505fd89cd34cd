import {
  CHUNK_ARRAY_ALIGNMENT,
  CHUNK_ENTRY_SIZE,
  encodeChunkFormat,
  encodeChunkIndexEntry,
  widenedChunkSize,
} from './chunk-index.js';
import { encodeDeviceNumber } from './device-number.js';
import { encodeDirectory } from './directory-layout.js';
import { DataLayout, EXTENDED_INODE_SIZE, encodeInode, INODE_SLOT } from './inode.js';
import { direntTypeOf } from './inode-type.js';
import { alignUp, BLOCK_SIZE } from './limits.js';
import type { BlobRef, FileInode, Inode, Xattr } from './tree.js';
import { headSizeOf, type TreeLayout } from './tree-layout.js';
import { encodeXattrs, xattrCountOf } from './xattr.js';

/** What the inodes are written into. */
export interface InodeTarget {
  /** The whole bootstrap, zero where nothing has been written. */
  bytes: Buffer;
  /** Byte offset of the meta area in it. */
  metaOffset: number;
  chunkSize: number;
  blobIndex: ReadonlyMap<BlobRef, number>;
}

/** Writes every inode with its xattrs and its chunk index, directory entries or symlink target. */
export function writeInodes(target: InodeTarget, layout: TreeLayout): void {
  for (const i of layout.inodes.keys()) writeInode(target, layout, i);
}

function writeInode(target: InodeTarget, layout: TreeLayout, i: number): void {
  const { bytes, metaOffset } = target;
  const inode = layout.inodes[i]!;
  const headSize = headSizeOf(inode);
  const at = metaOffset + layout.slots[i]! * INODE_SLOT;
  const size = sizeOf(inode, layout, i);
  encodeInode(
    {
      extended: true,
      layout: formatOf(inode, layout.inline[i] === 1),
      xattrCount: xattrCountOf(headSize - EXTENDED_INODE_SIZE),
      mode: inode.mode,
      size,
      union: unionOf(target, inode, layout.dataBlocks[i]!),
      ino: layout.inos[i]!,
      uid: inode.uid,
      gid: inode.gid,
      mtimeSec: inode.mtimeSec,
      mtimeNsec: inode.mtimeNsec,
      nlink: layout.nlinks[i]!,
    },
    bytes,
    at,
  );
  encodeXattrs(sortXattrs(inode.xattrs), bytes, at + EXTENDED_INODE_SIZE);
  if (inode.type === 'file') writeChunkIndex(target, inode, at + headSize);
  if (inode.type !== 'dir' && inode.type !== 'symlink') return;
  const dataOffset = metaOffset + layout.dataBlocks[i]! * BLOCK_SIZE;
  const tailBlock = layout.inline[i] === 1 ? Math.floor(size / BLOCK_SIZE) : -1;
  const offsetOf = (block: number) => (block === tailBlock ? at + headSize : dataOffset + block * BLOCK_SIZE);
  if (inode.type === 'dir') writeDirectory(target, layout, { directory: i, offsetOf });
  else {
    // A target is shorter than a block.
    inode.target.copy(bytes, offsetOf(0));
  }
}

/** Sorted by name, so that the same tree always gives the same bytes. */
function sortXattrs(xattrs: readonly Xattr[]): readonly Xattr[] {
  return xattrs.length < 2 ? xattrs : [...xattrs].sort((a, b) => Buffer.compare(a.name, b.name));
}

/** i_size. */
function sizeOf(inode: Inode, { directories }: TreeLayout, i: number): number {
  if (inode.type === 'file') return inode.size;
  if (inode.type === 'symlink') return inode.target.length;
  return inode.type === 'dir' ? directories.get(i)!.size : 0;
}

function formatOf({ type }: Inode, inline: boolean): number {
  if (type === 'file') return DataLayout.CHUNK_BASED;
  return inline ? DataLayout.FLAT_INLINE : DataLayout.FLAT_PLAIN;
}

function unionOf({ metaOffset, chunkSize }: InodeTarget, inode: Inode, dataBlock: number): number {
  switch (inode.type) {
    case 'file':
      return encodeChunkFormat(
        isOneRun(inode, chunkSize) ? widened(inode, chunkSize) : chunkSize,
        BLOCK_SIZE,
      );
    case 'dir':
    case 'symlink':
      return metaOffset / BLOCK_SIZE + dataBlock;
    case 'char':
    case 'block':
      return encodeDeviceNumber(inode.rdev);
    default:
      return 0;
  }
}

function widened(inode: FileInode, chunkSize: number): number {
  return widenedChunkSize(inode.size, chunkSize, BLOCK_SIZE);
}

/** True if the file's chunks follow one another in one blob's decoded space. */
function isOneRun({ chunks }: FileInode, chunkSize: number): boolean {
  return chunks.every((chunk, k) => {
    const before = chunks[k - 1];
    return (
      !before || (chunk.blob === before.blob && chunk.decodedOffset === before.decodedOffset + chunkSize)
    );
  });
}

function writeChunkIndex({ bytes, blobIndex }: InodeTarget, { chunks }: FileInode, offset: number): void {
  const start = alignUp(offset, CHUNK_ARRAY_ALIGNMENT);
  for (const [k, { blob, index, decodedOffset }] of chunks.entries()) {
    const entry = { blobIndex: blobIndex.get(blob)!, chunkIndex: index, block: decodedOffset / BLOCK_SIZE };
    encodeChunkIndexEntry(entry, bytes, start + k * CHUNK_ENTRY_SIZE);
  }
}

function writeDirectory(
  { bytes }: InodeTarget,
  { inodes, slots, directories }: TreeLayout,
  { directory, offsetOf }: { directory: number; offsetOf: (block: number) => number },
): void {
  const { names, targets } = directories.get(directory)!;
  const entry = (i: number) => {
    const to = targets[i]!;
    return { nid: slots[to]!, type: direntTypeOf(inodes[to]!.type) };
  };
  encodeDirectory(names, bytes, { entry, offsetOf });
}
