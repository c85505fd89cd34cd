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
import type { BlobRef, FileInode } from './tree.js';
import type { PlacedInode } from './tree-layout.js';
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

/** Number of a placed inode. */
export function nidOf(placed: PlacedInode): number {
  return placed.offset / INODE_SLOT;
}

/** Writes one inode with its xattrs and its chunk index, directory entries or symlink target. */
export function writeInode(target: InodeTarget, placed: PlacedInode): void {
  const { bytes, metaOffset } = target;
  const { inode, offset, headSize } = placed;
  const at = metaOffset + offset;
  encodeInode(
    {
      extended: true,
      layout: layoutOf(placed),
      xattrCount: xattrCountOf(headSize - EXTENDED_INODE_SIZE),
      mode: inode.mode,
      size: placed.size,
      union: unionOf(target, placed),
      ino: placed.ino,
      uid: inode.uid,
      gid: inode.gid,
      mtimeSec: inode.mtimeSec,
      mtimeNsec: inode.mtimeNsec,
      nlink: placed.nlink,
    },
    bytes,
    at,
  );
  encodeXattrs(placed.xattrs, bytes, at + EXTENDED_INODE_SIZE);
  switch (inode.type) {
    case 'file':
      writeChunkIndex(target, inode, at + headSize);
      return;
    case 'dir':
      writeDirectory(target, placed);
      return;
    case 'symlink': {
      const tail = placed.inline ? placed.size % BLOCK_SIZE : 0;
      inode.target.copy(bytes, metaOffset + placed.dataOffset, 0, placed.size - tail);
      inode.target.copy(bytes, at + headSize, placed.size - tail);
    }
  }
}

function layoutOf({ inode, inline }: PlacedInode): number {
  if (inode.type === 'file') return DataLayout.CHUNK_BASED;
  return inline ? DataLayout.FLAT_INLINE : DataLayout.FLAT_PLAIN;
}

function unionOf({ metaOffset, chunkSize }: InodeTarget, { inode, dataOffset }: PlacedInode): number {
  switch (inode.type) {
    case 'file':
      return encodeChunkFormat(
        isOneRun(inode, chunkSize) ? widened(inode, chunkSize) : chunkSize,
        BLOCK_SIZE,
      );
    case 'dir':
    case 'symlink':
      return Math.floor((metaOffset + dataOffset) / BLOCK_SIZE);
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
  chunks.forEach(({ blob, index, decodedOffset }, k) => {
    const entry = { blobIndex: blobIndex.get(blob)!, chunkIndex: index, block: decodedOffset / BLOCK_SIZE };
    encodeChunkIndexEntry(entry, bytes, start + k * CHUNK_ENTRY_SIZE);
  });
}

function writeDirectory({ bytes, metaOffset }: InodeTarget, placed: PlacedInode): void {
  const entries = placed.entries.map(({ name, to }) => ({
    name,
    nid: nidOf(to),
    type: direntTypeOf(to.inode.type),
  }));
  const wholeBlocks = Math.floor(placed.size / BLOCK_SIZE);
  encodeDirectory(entries, bytes, (block) =>
    placed.inline && block === wholeBlocks
      ? metaOffset + placed.offset + placed.headSize
      : metaOffset + placed.dataOffset + block * BLOCK_SIZE,
  );
}
