import { RafterError } from '../../errors.js';
import { malformed, readI64, readU64 } from '../binary.js';
import { CHUNK_TABLE_ENTRY_SIZE } from '../chunk-table.js';
import { decodeDeviceNumber } from '../device-number.js';
import type { DiskInode } from '../disk-inode.js';
import { typeOfMode } from '../inode-type.js';
import type { InodeType } from '../tree.js';
import { chunksAt, INODE_SIZE, InodeFlag, placeParts } from './inode-parts.js';
import { SUPERBLOCK_V5_SIZE, type SuperblockV5, TABLE_ENTRY_SIZE, V5_ALIGNMENT } from './superblock.js';

/** Index and number of the root. */
export const ROOT_INO = 1;
const MAX_NSEC = 999_999_999;

const PARENT = 32;
const INO = 40;
const UID = 48;
const GID = 52;
const MODE = 60;
const SIZE = 64;
const FLAGS = 80;
const NLINK = 88;
const CHILD_INDEX = 92;
const CHILD_COUNT = 96;
const RDEV = 104;
const MTIME_NSEC = 108;
const MTIME = 112;

/** A RAFS v5 bootstrap whose superblock is checked. */
export interface V5Image {
  bytes: Buffer;
  /** For messages. */
  name: string;
  superblock: SuperblockV5;
}

/** One record of a RAFS v5 bootstrap. A second name of a hard link has one of its own, with the number of the first. */
export interface InodeV5 extends DiskInode {
  /** Byte offset of the record in the bootstrap. */
  readonly offset: number;
  /** Number of the directory that the name is in; 0 for the root. */
  readonly parent: number;
  /** Of a directory: index of the first child, and how many there are. */
  readonly childIndex: number;
  readonly childCount: number;
}

type Wrong = (field: string, at: number, problem: string) => RafterError;

/** Entries of the inode table, which is the largest index. */
export function recordCount({ superblock }: Pick<V5Image, 'superblock'>): number {
  return superblock.inodeTable.size / TABLE_ENTRY_SIZE;
}

/** Byte offset of the record that the inode table has for `index`. MALFORMED if there is none or it is outside the file. */
export function recordOffset(image: V5Image, index: number): number {
  const { bytes, name, superblock } = image;
  const table = superblock.inodeTable.offset;
  const count = recordCount(image);
  if (!(Number.isInteger(index) && index >= 1 && index <= count))
    throw malformed(name, `inode ${index}`, table, `the inode table has ${count} entries`);
  const at = table + (index - 1) * TABLE_ENTRY_SIZE;
  const offset = bytes.readUInt32LE(at) * V5_ALIGNMENT;
  if (offset < SUPERBLOCK_V5_SIZE || offset + INODE_SIZE > bytes.length)
    throw malformed(name, `inode table entry ${index}`, at, `${offset} in a file of ${bytes.length} bytes`);
  return offset;
}

/** Number of the inode in the record for `index`, unchecked. */
export function inoOf(image: V5Image, index: number): number {
  return readU64(image.bytes, recordOffset(image, index) + INO);
}

/**
 * Reads the record for `index`; every range that it names is inside the file. Throws MALFORMED naming field and offset, and
 * UNSUPPORTED for files with holes, which no builder writes.
 */
export function readInodeV5(image: V5Image, index: number): InodeV5 {
  const { bytes } = image;
  const offset = recordOffset(image, index);
  const wrong: Wrong = (field, at, problem) =>
    malformed(image.name, `inode ${index} ${field}`, offset + at, problem);
  const u32 = (at: number) => bytes.readUInt32LE(offset + at);
  const mode = u32(MODE);
  const type = typeOfMode(mode);
  if (type === undefined) throw wrong('i_mode', MODE, `0${mode.toString(8)} names no file type`);
  const flags = u32(FLAGS);
  const { nid, parent } = readNumbers(image, { index, offset, type }, wrong);
  const size = readU64(bytes, offset + SIZE);
  if (!Number.isSafeInteger(size)) throw wrong('i_size', SIZE, 'is beyond 2^53');
  const mtimeSec = readI64(bytes, offset + MTIME);
  if (!Number.isSafeInteger(mtimeSec)) throw wrong('i_mtime', MTIME, 'is beyond 2^53');
  const mtimeNsec = u32(MTIME_NSEC);
  if (mtimeNsec > MAX_NSEC) throw wrong('i_mtime_nsec', MTIME_NSEC, `${mtimeNsec}`);
  const parts = placeParts(bytes, { offset, flags, type, isRoot: index === ROOT_INO }, wrong);
  const count = u32(CHILD_COUNT);
  const childIndex = u32(CHILD_INDEX);
  if (type === 'file') {
    if ((flags & InodeFlag.HAS_HOLE) !== 0)
      throw new RafterError('UNSUPPORTED', wrong('i_flags', FLAGS, 'a file with holes').message);
    if (count !== Math.ceil(size / image.superblock.chunkSize))
      throw wrong('i_child_count', CHILD_COUNT, `${count} chunks for ${size} bytes`);
    if (parts.end + count * CHUNK_TABLE_ENTRY_SIZE > bytes.length)
      throw wrong('i_child_count', CHILD_COUNT, `${count} chunks end outside the file`);
  } else if (type === 'dir' && count > 0) {
    if (childIndex <= nid || childIndex + count - 1 > recordCount(image))
      throw wrong('i_child_index', CHILD_INDEX, `${count} children from ${childIndex}`);
  }
  return {
    nid,
    type,
    mode,
    size: type === 'symlink' ? parts.targetSize : size,
    uid: u32(UID),
    gid: u32(GID),
    mtimeSec,
    mtimeNsec,
    nlink: u32(NLINK),
    rdev: type === 'char' || type === 'block' ? decodeDeviceNumber(u32(RDEV)) : undefined,
    hasXattrs: parts.xattrSize > 0,
    chunkCount: type === 'file' ? count : 0,
    xattrOffset: parts.xattrOffset,
    xattrSize: parts.xattrSize,
    dataOffset: type === 'symlink' ? parts.targetOffset : parts.end,
    tailOffset: -1,
    oneRun: false,
    offset,
    parent,
    childIndex,
    childCount: type === 'dir' ? count : 0,
  };
}

/**
 * Byte offset and number of the chunk entries of the record for `index`, if that is a file's first name; they are inside the file.
 * Checks nothing else: this is for reading all of them. MALFORMED as `readInodeV5`.
 */
export function fileChunks(image: V5Image, index: number): { start: number; count: number } | undefined {
  const { bytes, name } = image;
  const offset = recordOffset(image, index);
  const mode = bytes.readUInt32LE(offset + MODE);
  const count = bytes.readUInt32LE(offset + CHILD_COUNT);
  if (count === 0 || typeOfMode(mode) !== 'file' || readU64(bytes, offset + INO) !== index) return undefined;
  const start = chunksAt(bytes, offset, bytes.readUInt32LE(offset + FLAGS));
  if (start + count * CHUNK_TABLE_ENTRY_SIZE > bytes.length)
    throw malformed(name, `inode ${index} i_child_count`, offset, `${count} chunks end outside the file`);
  return { start, count };
}

/** The number and the parent's. Builders do not always set the flag HARDLINK on what has two names, so it means nothing here. */
function readNumbers(
  image: V5Image,
  { index, offset, type }: { index: number; offset: number; type: InodeType },
  wrong: Wrong,
): { nid: number; parent: number } {
  const { bytes } = image;
  const nid = readU64(bytes, offset + INO);
  const parent = readU64(bytes, offset + PARENT);
  const nlink = bytes.readUInt32LE(offset + NLINK);
  if (nlink === 0) throw wrong('i_nlink', NLINK, '0');
  if (nid === 0 || nid > recordCount(image)) throw wrong('i_ino', INO, `${nid}`);
  const isSecondName = nid !== index;
  if (isSecondName && (nlink < 2 || type === 'dir'))
    throw wrong('i_ino', INO, `${nid}, which a ${type} with ${nlink} links cannot be a name of`);
  if ((index === ROOT_INO) !== (parent === 0)) throw wrong('i_parent', PARENT, `${parent}`);
  const limit = isSecondName ? recordCount(image) + 1 : nid;
  if (parent >= limit) throw wrong('i_parent', PARENT, `${parent} is not below ${limit}`);
  return { nid, parent };
}
