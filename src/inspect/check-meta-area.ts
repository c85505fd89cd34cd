import { isRafterError } from '../errors.js';
import { BodyBudget } from '../rafs/body-budget.js';
import type { Bootstrap, DiskInode } from '../rafs/bootstrap.js';
import { readBootstrapTables } from '../rafs/bootstrap-tables.js';
import { CHUNK_ENTRY_SIZE, decodeChunkFormat } from '../rafs/chunk-index.js';
import { DEVICE_SLOT_SIZE, DEVICE_TABLE_OFFSET } from '../rafs/device-slot.js';
import { DIRENT_SIZE } from '../rafs/dirent.js';
import { decodeInode, EXTENDED_INODE_SIZE, INODE_SLOT, inodeSizeAt } from '../rafs/inode.js';
import { walk } from '../rafs/walk.js';
import type { FaultList } from './faults.js';
import { findNonZero } from './zeros.js';

/** Reserved bytes of inodes and xattr areas (EROFS on-disk format): offset and size. */
const EXTENDED_RESERVED = [
  [6, 2],
  [48, 16],
] as const;
const COMPACT_RESERVED = [
  [12, 4],
  [28, 4],
] as const;
const XATTR_RESERVED = [
  [0, 4],
  [5, 7],
] as const;
const XATTR_HEAD_SIZE = 12;
const DIRENT_RESERVED = 11;
const DIRENT_NAME_OFFSET = 8;

/** Byte ranges of a bootstrap and what stands there. */
interface Ranges {
  starts: number[];
  ends: number[];
  /** Text, or the number of an inode. */
  owners: (string | number)[];
}

/**
 * Reports what readers of a RAFS v6 bootstrap do not look at in its inodes: bytes that must be zero, files that are said to be in
 * one piece and are not, xattrs with one name, things that lie over each other, and bytes that belong to nothing. Ends
 * without a word where `bootstrap`, which `bytes` is, cannot be walked.
 */
export function checkMetaArea(bytes: Buffer, bootstrap: Bootstrap, faults: FaultList): void {
  const ranges: Ranges = { starts: [], ends: [], owners: [] };
  const { metaOffset, blockSize } = addTables(ranges, bytes, bootstrap);
  const seen = new Set<number>();
  const budget = new BodyBudget(bootstrap);
  try {
    for (const { path, inode } of walk(bootstrap)) {
      if (seen.has(inode.nid)) continue;
      seen.add(inode.nid);
      budget.take(inode);
      checkInode({ bytes, bootstrap, blockSize, at: metaOffset + inode.nid * INODE_SLOT }, inode, {
        path: path.toString(),
        faults,
      });
      addInode(ranges, { inode, blockSize, at: metaOffset + inode.nid * INODE_SLOT });
    }
  } catch (error) {
    if (isRafterError(error)) return;
    throw error;
  }
  checkRanges(ranges, bytes, faults);
}

function addTables(ranges: Ranges, bytes: Buffer, { name }: Bootstrap) {
  const { extended, blobs, metaOffset, blockSize } = readBootstrapTables(bytes, name);
  const { blobTable, chunkTable, prefetchTable } = extended;
  add(ranges, 'the superblocks and devices', 0, DEVICE_TABLE_OFFSET + blobs.length * DEVICE_SLOT_SIZE);
  add(ranges, 'the blob table', blobTable.offset, blobTable.size);
  add(ranges, 'the chunk table', chunkTable.offset, chunkTable.size);
  if (prefetchTable.offset > 0) add(ranges, 'the prefetch table', prefetchTable.offset, prefetchTable.size);
  return { metaOffset, blockSize };
}

function add({ starts, ends, owners }: Ranges, owner: string | number, start: number, size: number): void {
  if (size === 0) return;
  starts.push(start);
  ends.push(start + size);
  owners.push(owner);
}

function addInode(
  ranges: Ranges,
  { inode, blockSize, at }: { inode: DiskInode; blockSize: number; at: number },
): void {
  const { nid, xattrOffset, xattrSize, dataOffset, tailOffset, size, chunkCount, type } = inode;
  const hasBlocks = type === 'dir' || type === 'symlink';
  const tail = hasBlocks && tailOffset >= 0 ? size % blockSize : 0;
  const end = chunkCount > 0 ? dataOffset + chunkCount * CHUNK_ENTRY_SIZE : xattrOffset + xattrSize + tail;
  add(ranges, nid, at, end - at);
  if (hasBlocks) add(ranges, nid, dataOffset, size - tail);
}

interface InodePlace {
  bytes: Buffer;
  bootstrap: Bootstrap;
  blockSize: number;
  at: number;
}

function checkInode(
  place: InodePlace,
  inode: DiskInode,
  { path, faults }: { path: string; faults: FaultList },
): void {
  const { bytes, at } = place;
  const report = (message: string, offset: number) => faults.add('bootstrap', message, { path, offset });
  const requireZeros = (what: string, from: number, to: number) => {
    const offset = findNonZero(bytes, from, to);
    if (offset !== undefined) report(`${what} must be 0`, offset);
  };
  const extended = inodeSizeAt(bytes, at) === EXTENDED_INODE_SIZE;
  for (const [offset, size] of extended ? EXTENDED_RESERVED : COMPACT_RESERVED)
    requireZeros('reserved bytes of the inode', at + offset, at + offset + size);
  if (inode.xattrSize > 0) {
    for (const [offset, size] of XATTR_RESERVED) {
      const from = inode.xattrOffset + offset;
      requireZeros('reserved bytes of the xattrs', from, from + size);
    }
    checkXattrs(place, inode, report);
  }
  if (inode.type === 'file') checkFormat(place, inode, report);
  if (inode.type === 'dir') checkDirents(place, inode, requireZeros);
  if (inode.chunkCount > 0)
    requireZeros(
      'what stands in front of the chunk index',
      inode.xattrOffset + inode.xattrSize,
      inode.dataOffset,
    );
}

/** Names once, and zeros between the entries. */
function checkXattrs(
  { bytes, bootstrap }: InodePlace,
  inode: DiskInode,
  report: (message: string, offset: number) => void,
): void {
  let xattrs: ReturnType<Bootstrap['xattrs']>;
  try {
    xattrs = bootstrap.xattrs(inode);
  } catch (error) {
    // Reported where the tree is read.
    if (isRafterError(error)) return;
    throw error;
  }
  const names = new Set<string>();
  let at = inode.xattrOffset + XATTR_HEAD_SIZE;
  for (const { name, value } of xattrs) {
    const text = name.toString('latin1');
    if (names.has(text)) report(`the xattr ${JSON.stringify(text)} is there twice`, at);
    names.add(text);
    const end = at + 4 + bytes.readUInt8(at) + value.length;
    at = Math.ceil((end - inode.xattrOffset) / 4) * 4 + inode.xattrOffset;
    const offset = findNonZero(bytes, end, at);
    if (offset !== undefined) report('padding of an xattr must be 0', offset);
  }
}

/** The kernel goes by the chunk size in the inode, other readers by that of the image. */
function checkFormat(
  { bytes, bootstrap, blockSize, at }: InodePlace,
  inode: DiskInode,
  report: (message: string, offset: number) => void,
): void {
  const size = decodeChunkFormat(decodeInode(bytes, at).union, blockSize);
  if (size === undefined || size === bootstrap.chunkSize) return;
  try {
    const first = inode.chunkCount > 0 ? bootstrap.chunkAt(inode, 0) : undefined;
    for (let k = 1; k < inode.chunkCount; k++) {
      const { blobIndex, decodedOffset } = bootstrap.chunkAt(inode, k);
      if (blobIndex === first!.blobIndex && decodedOffset === first!.decodedOffset + k * bootstrap.chunkSize)
        continue;
      report(`chunk format: chunks of ${size} bytes, but chunk ${k} does not follow the one before`, at + 16);
      return;
    }
  } catch (error) {
    // Reported where the tree is read.
    if (!isRafterError(error)) throw error;
  }
}

function checkDirents(
  { bytes, blockSize }: InodePlace,
  { size, dataOffset, tailOffset }: DiskInode,
  requireZeros: (what: string, from: number, to: number) => void,
): void {
  for (let from = 0; from < size; from += blockSize) {
    const length = Math.min(blockSize, size - from);
    const start = length < blockSize && tailOffset >= 0 ? tailOffset : dataOffset + from;
    if (length < DIRENT_SIZE) return;
    const count = bytes.readUInt16LE(start + DIRENT_NAME_OFFSET) / DIRENT_SIZE;
    // Reported where the tree is read.
    if (count < 1 || !Number.isInteger(count) || count * DIRENT_SIZE > length) return;
    for (let i = 0; i < count; i++) {
      const at = start + i * DIRENT_SIZE + DIRENT_RESERVED;
      requireZeros('the reserved byte of a directory entry', at, at + 1);
    }
    const last = start + bytes.readUInt16LE(start + (count - 1) * DIRENT_SIZE + DIRENT_NAME_OFFSET);
    const end = bytes.indexOf(0, last);
    if (end >= 0 && end < start + length) requireZeros('the end of a directory block', end, start + length);
  }
}

function checkRanges({ starts, ends, owners }: Ranges, bytes: Buffer, faults: FaultList): void {
  const order = Uint32Array.from(starts.keys()).sort((a, b) => starts[a]! - starts[b]!);
  const nameOf = (owner: string | number) => (typeof owner === 'number' ? `inode ${owner}` : owner);
  let end = 0;
  let last: string | number = 'the superblocks';
  for (const i of order) {
    const start = starts[i]!;
    if (start < end) {
      faults.add('bootstrap', `${nameOf(owners[i]!)} lies over ${nameOf(last)}`, { offset: start });
    } else {
      const offset = findNonZero(bytes, end, start);
      if (offset !== undefined)
        faults.add(
          'bootstrap',
          `bytes that belong to nothing, in front of ${nameOf(owners[i]!)}, must be 0`,
          {
            offset,
          },
        );
    }
    if (ends[i]! < end) continue;
    end = ends[i]!;
    last = owners[i]!;
  }
  const offset = findNonZero(bytes, end, bytes.length);
  if (offset !== undefined) faults.add('bootstrap', 'bytes at the end must be 0', { offset });
}
