import { RafterError } from '../errors.js';
import { malformed } from './binary.js';
import { CHUNK_ARRAY_ALIGNMENT, CHUNK_ENTRY_SIZE, decodeChunkFormat } from './chunk-index.js';
import { type DeviceNumber, decodeDeviceNumber } from './device-number.js';
import {
  COMPACT_INODE_SIZE,
  DataLayout,
  decodeInode,
  INODE_SLOT,
  inodeSizeAt,
  type RawInode,
} from './inode.js';
import { typeOfMode } from './inode-type.js';
import { alignUp, MAX_SYMLINK_SIZE } from './limits.js';
import type { InodeType } from './tree.js';
import { xattrAreaSizeOf } from './xattr.js';

const MAX_NSEC = 999_999_999;

/** One inode as read from a bootstrap; every range that it names has been checked to be inside the file. */
export interface DiskInode {
  /** Number of the inode: its place in the meta area in units of 32 bytes. Stable for one bootstrap. */
  readonly nid: number;
  readonly type: InodeType;
  /** The full st_mode. */
  readonly mode: number;
  /** Bytes of a file or symlink target; bytes of a directory's entries; 0 otherwise. */
  readonly size: number;
  readonly uid: number;
  readonly gid: number;
  /** Seconds since 1970, may be negative, and nanoseconds. */
  readonly mtimeSec: number;
  readonly mtimeNsec: number;
  readonly nlink: number;
  /** For char and block devices. */
  readonly rdev: DeviceNumber | undefined;
  readonly hasXattrs: boolean;
  /** Chunks of a regular file, else 0. */
  readonly chunkCount: number;
  /** The inode tells the kernel that its chunks follow one another in one blob. Whether that is so has not been checked. */
  readonly oneRun: boolean;
  /** Byte range of the xattrs in the bootstrap. */
  readonly xattrOffset: number;
  readonly xattrSize: number;
  /** Byte offset in the bootstrap of a file's chunk index, or of a directory's or symlink's whole blocks. */
  readonly dataOffset: number;
  /** Byte offset of the rest of a directory or symlink that does not fill a block; -1 if it follows the whole blocks. */
  readonly tailOffset: number;
}

/** What of a bootstrap matters for reading inodes. */
export interface InodeArea {
  bytes: Buffer;
  name: string;
  blockSize: number;
  metaOffset: number;
  chunkSize: number;
}

/** Reads inode `nid`. Throws MALFORMED naming field and offset if there is no good inode. */
export function readInode(area: InodeArea, nid: number): DiskInode {
  const { bytes, name } = area;
  const offset = area.metaOffset + nid * INODE_SLOT;
  const fits = Number.isSafeInteger(offset) && nid >= 0 && offset + COMPACT_INODE_SIZE <= bytes.length;
  if (!fits || offset + inodeSizeAt(bytes, offset) > bytes.length) {
    throw malformed(name, `inode ${nid}`, offset, `is outside the ${bytes.length} bytes of the file`);
  }
  const raw = decodeInode(bytes, offset);
  const wrong = (field: string, problem: string) => malformed(name, `inode ${nid} ${field}`, offset, problem);
  const type = typeOfMode(raw.mode);
  if (type === undefined) throw wrong('i_mode', `0${raw.mode.toString(8)} names no file type`);
  if (!Number.isSafeInteger(raw.size)) throw wrong('i_size', 'is beyond 2^53');
  if (!Number.isSafeInteger(raw.mtimeSec)) throw wrong('i_mtime', 'is beyond 2^53');
  if (raw.mtimeNsec > MAX_NSEC) throw wrong('i_mtime_nsec', `${raw.mtimeNsec}`);
  const xattrOffset = offset + inodeSizeAt(bytes, offset);
  const xattrSize = xattrAreaSizeOf(raw.xattrCount);
  const bodyOffset = xattrOffset + xattrSize;
  if (bodyOffset > bytes.length)
    throw wrong('i_xattr_icount', `${raw.xattrCount} entries end outside the file`);
  const place =
    type === 'file'
      ? placeChunks(area, raw, bodyOffset, wrong)
      : type === 'dir' || type === 'symlink'
        ? placeFlat(area, raw, bodyOffset, type, wrong)
        : NO_DATA;
  if (place === NO_DATA && raw.layout !== DataLayout.FLAT_PLAIN)
    throw wrong('i_format', `layout ${raw.layout} of a ${type}`);
  return {
    nid,
    type,
    mode: raw.mode,
    size: raw.size,
    uid: raw.uid,
    gid: raw.gid,
    mtimeSec: raw.mtimeSec,
    mtimeNsec: raw.mtimeNsec,
    nlink: raw.nlink,
    rdev: type === 'char' || type === 'block' ? decodeDeviceNumber(raw.union) : undefined,
    hasXattrs: xattrSize > 0,
    chunkCount: place.chunkCount,
    oneRun: place.oneRun,
    xattrOffset,
    xattrSize,
    dataOffset: place.dataOffset,
    tailOffset: place.tailOffset,
  };
}

type Place = Pick<DiskInode, 'chunkCount' | 'dataOffset' | 'tailOffset' | 'oneRun'>;
type Wrong = (field: string, problem: string) => Error;

const NO_DATA: Place = { chunkCount: 0, dataOffset: -1, tailOffset: -1, oneRun: false };

function placeChunks(area: InodeArea, raw: RawInode, bodyOffset: number, wrong: Wrong): Place {
  if (raw.layout !== DataLayout.CHUNK_BASED)
    throw wrong('i_format', `layout ${raw.layout} of a regular file`);
  const size = decodeChunkFormat(raw.union, area.blockSize);
  if (size === undefined) throw wrong('chunk format', `0x${raw.union.toString(16)}`);
  // A larger chunk size in i_u is a hint for the kernel that the file is one run; then it covers the whole file.
  if (size !== area.chunkSize && size < raw.size) {
    throw new RafterError(
      'UNSUPPORTED',
      wrong('chunk format', `chunks of ${size} in an image of ${area.chunkSize}`).message,
    );
  }
  const chunkCount = Math.ceil(raw.size / area.chunkSize);
  const dataOffset = alignUp(bodyOffset, CHUNK_ARRAY_ALIGNMENT);
  if (chunkCount > 0 && dataOffset + chunkCount * CHUNK_ENTRY_SIZE > area.bytes.length) {
    throw wrong('i_size', `${raw.size} needs a chunk index that ends outside the file`);
  }
  return { chunkCount, dataOffset, tailOffset: -1, oneRun: size > area.chunkSize };
}

function placeFlat(
  area: InodeArea,
  raw: RawInode,
  bodyOffset: number,
  type: 'dir' | 'symlink',
  wrong: Wrong,
): Place {
  if (raw.layout !== DataLayout.FLAT_PLAIN && raw.layout !== DataLayout.FLAT_INLINE) {
    throw wrong('i_format', `layout ${raw.layout} of a ${type}`);
  }
  if (type === 'symlink' && (raw.size === 0 || raw.size > MAX_SYMLINK_SIZE)) {
    throw wrong('i_size', `symlink target of ${raw.size} bytes; 1 to ${MAX_SYMLINK_SIZE}`);
  }
  const tail = raw.size % area.blockSize;
  const inline = raw.layout === DataLayout.FLAT_INLINE && tail > 0;
  const inBlocks = inline ? raw.size - tail : raw.size;
  const dataOffset = raw.union * area.blockSize;
  if (inBlocks > 0 && dataOffset + inBlocks > area.bytes.length) {
    throw wrong('i_u', `${inBlocks} bytes at block ${raw.union} end outside the file`);
  }
  if (inline) {
    const room = area.blockSize - (bodyOffset % area.blockSize);
    if (tail > room || bodyOffset + tail > area.bytes.length) {
      throw wrong('i_size', `inline data of ${tail} bytes leaves its block`);
    }
  }
  return { chunkCount: 0, dataOffset, tailOffset: inline ? bodyOffset : -1, oneRun: false };
}
