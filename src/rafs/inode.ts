import { readI64, readU64, writeI64, writeU64 } from './binary.js';

/** EROFS on-disk inodes: 32 bytes without, 64 bytes with mtime and wide numbers. All start at a multiple of 32. */
export const INODE_SLOT = 32;
export const COMPACT_INODE_SIZE = 32;
export const EXTENDED_INODE_SIZE = 64;

/** Where an inode's data is: i_format bits 1 to 3. */
export const DataLayout = {
  /** Devices, fifos, sockets; directories and symlinks whose end is not inlined. */
  FLAT_PLAIN: 0,
  /** Directories and symlinks: whole blocks elsewhere, the rest right behind inode and xattrs. */
  FLAT_INLINE: 2,
  /** Regular files: an index of chunks behind inode and xattrs. */
  CHUNK_BASED: 4,
} as const;

const FORMAT = 0;
const XATTR_COUNT = 2;
const MODE = 4;
const COMPACT = { nlink: 6, size: 8, union: 16, ino: 20, uid: 24, gid: 26 } as const;
const EXTENDED = {
  size: 8,
  union: 16,
  ino: 20,
  uid: 24,
  gid: 28,
  mtime: 32,
  mtimeNsec: 40,
  nlink: 44,
} as const;

const FORMAT_EXTENDED = 1;

/** An inode's fields as they are on disk. */
export interface RawInode {
  extended: boolean;
  /** A `DataLayout` value in a known inode; 0 to 32767 as read. */
  layout: number;
  /** i_xattr_icount: 0, or 1 + (xattr bytes - 12) / 4. */
  xattrCount: number;
  mode: number;
  size: number;
  /** i_u: start block, chunk format or device number, by layout and type. */
  union: number;
  /** A running number that nothing reads. */
  ino: number;
  uid: number;
  gid: number;
  /** Always 0 in a compact inode. */
  mtimeSec: number;
  mtimeNsec: number;
  nlink: number;
}

/** Writes 64 bytes, or 32 for a compact inode, at `offset` of `target`, which must be zero there. */
export function encodeInode(inode: RawInode, target: Buffer, offset: number): void {
  target.writeUInt16LE((inode.layout << 1) | (inode.extended ? FORMAT_EXTENDED : 0), offset + FORMAT);
  target.writeUInt16LE(inode.xattrCount, offset + XATTR_COUNT);
  target.writeUInt16LE(inode.mode, offset + MODE);
  if (inode.extended) {
    writeU64(target, inode.size, offset + EXTENDED.size);
    target.writeUInt32LE(inode.union, offset + EXTENDED.union);
    target.writeUInt32LE(inode.ino, offset + EXTENDED.ino);
    target.writeUInt32LE(inode.uid, offset + EXTENDED.uid);
    target.writeUInt32LE(inode.gid, offset + EXTENDED.gid);
    writeI64(target, inode.mtimeSec, offset + EXTENDED.mtime);
    target.writeUInt32LE(inode.mtimeNsec, offset + EXTENDED.mtimeNsec);
    target.writeUInt32LE(inode.nlink, offset + EXTENDED.nlink);
  } else {
    target.writeUInt16LE(inode.nlink, offset + COMPACT.nlink);
    target.writeUInt32LE(inode.size, offset + COMPACT.size);
    target.writeUInt32LE(inode.union, offset + COMPACT.union);
    target.writeUInt32LE(inode.ino, offset + COMPACT.ino);
    target.writeUInt16LE(inode.uid, offset + COMPACT.uid);
    target.writeUInt16LE(inode.gid, offset + COMPACT.gid);
  }
}

/** Bytes of the inode whose first 32 bytes are at `offset`. */
export function inodeSizeAt(bytes: Buffer, offset: number): number {
  return (bytes.readUInt16LE(offset + FORMAT) & FORMAT_EXTENDED) !== 0
    ? EXTENDED_INODE_SIZE
    : COMPACT_INODE_SIZE;
}

/** Reads the inode at `offset`; `inodeSizeAt` bytes must be there. */
export function decodeInode(bytes: Buffer, offset: number): RawInode {
  const format = bytes.readUInt16LE(offset + FORMAT);
  const layout = format >>> 1;
  const xattrCount = bytes.readUInt16LE(offset + XATTR_COUNT);
  const mode = bytes.readUInt16LE(offset + MODE);
  if ((format & FORMAT_EXTENDED) === 0) {
    return {
      extended: false,
      layout,
      xattrCount,
      mode,
      size: bytes.readUInt32LE(offset + COMPACT.size),
      union: bytes.readUInt32LE(offset + COMPACT.union),
      ino: bytes.readUInt32LE(offset + COMPACT.ino),
      uid: bytes.readUInt16LE(offset + COMPACT.uid),
      gid: bytes.readUInt16LE(offset + COMPACT.gid),
      mtimeSec: 0,
      mtimeNsec: 0,
      nlink: bytes.readUInt16LE(offset + COMPACT.nlink),
    };
  }
  return {
    extended: true,
    layout,
    xattrCount,
    mode,
    size: readU64(bytes, offset + EXTENDED.size),
    union: bytes.readUInt32LE(offset + EXTENDED.union),
    ino: bytes.readUInt32LE(offset + EXTENDED.ino),
    uid: bytes.readUInt32LE(offset + EXTENDED.uid),
    gid: bytes.readUInt32LE(offset + EXTENDED.gid),
    mtimeSec: readI64(bytes, offset + EXTENDED.mtime),
    mtimeNsec: bytes.readUInt32LE(offset + EXTENDED.mtimeNsec),
    nlink: bytes.readUInt32LE(offset + EXTENDED.nlink),
  };
}
