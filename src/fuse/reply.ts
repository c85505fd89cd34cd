import type { Attributes, FileSystemStats } from './file-system.js';
import { OUT_HEADER_SIZE } from './protocol.js';

/** Seconds that the kernel may keep names and attributes: the tree never changes. */
const KEEP_SECONDS = 365 * 24 * 3600;
/** Bytes of `fuse_attr`, `fuse_entry_out`, `fuse_attr_out` and of `fuse_dirent` without its name. */
const ATTR_SIZE = 88;
export const ENTRY_OUT_SIZE = 40 + ATTR_SIZE;
export const ATTR_OUT_SIZE = 16 + ATTR_SIZE;
const DIRENT_SIZE = 24;
export const STATFS_OUT_SIZE = 80;
export const OPEN_OUT_SIZE = 16;
export const XATTR_SIZE_OUT_SIZE = 8;
/** What stat(2) counts blocks in, and the block size that it recommends. */
const STAT_BLOCK = 512;
const PREFERRED_BLOCK = 4096;

/**
 * Writes the header of an answer into the first 16 bytes of `reply` and returns how long the whole answer is. `size` is
 * what follows the header; `errno` is 0 or a positive error number.
 */
export function writeHeader(
  reply: Buffer,
  unique: Buffer,
  { size = 0, errno = 0 }: { size?: number; errno?: number },
): number {
  const length = OUT_HEADER_SIZE + size;
  reply.writeUInt32LE(length, 0);
  reply.writeInt32LE(-errno, 4);
  unique.copy(reply, 8);
  return length;
}

/** `fuse_attr_out` at `at`. `node` is the inode number that stat(2) shows. */
export function writeAttrOut(bytes: Buffer, at: number, attributes: Attributes): void {
  bytes.fill(0, at, at + ATTR_OUT_SIZE);
  bytes.writeUInt32LE(KEEP_SECONDS, at);
  writeAttr(bytes, at + 16, attributes);
}

/** `fuse_entry_out` at `at`; `node` is what the kernel will call the file. `keep` false: ask again at every lookup. */
export function writeEntryOut(
  bytes: Buffer,
  at: number,
  { node, attributes, keep }: { node: number; attributes: Attributes; keep: boolean },
): void {
  bytes.fill(0, at, at + ENTRY_OUT_SIZE);
  writeUInt64(bytes, at, node);
  const seconds = keep ? KEEP_SECONDS : 0;
  bytes.writeUInt32LE(seconds, at + 16);
  bytes.writeUInt32LE(seconds, at + 24);
  writeAttr(bytes, at + 40, attributes);
}

/** The `fuse_entry_out` that says "no such name". With `keep` the kernel remembers that. */
export function writeNegativeEntry(bytes: Buffer, at: number, keep: boolean): void {
  bytes.fill(0, at, at + ENTRY_OUT_SIZE);
  bytes.writeUInt32LE(keep ? KEEP_SECONDS : 0, at + 16);
}

/** `fuse_dirent` with its name at `at`; returns the bytes that it takes, a multiple of eight. */
export function writeDirent(
  bytes: Buffer,
  at: number,
  { inode, next, name, mode }: { inode: number; next: number; name: Buffer; mode: number },
): number {
  const size = direntSize(name);
  writeUInt64(bytes, at, inode);
  writeUInt64(bytes, at + 8, next);
  bytes.writeUInt32LE(name.length, at + 16);
  bytes.writeUInt32LE((mode & 0o170000) >>> 12, at + 20);
  name.copy(bytes, at + DIRENT_SIZE);
  bytes.fill(0, at + DIRENT_SIZE + name.length, at + size);
  return size;
}

/** Bytes of a `fuse_dirent` with this name. */
export function direntSize(name: Buffer): number {
  return Math.ceil((DIRENT_SIZE + name.length) / 8) * 8;
}

/** `fuse_statfs_out` at `at`: everything is in use, nothing is free. */
export function writeStatfs(bytes: Buffer, at: number, stats: FileSystemStats): void {
  bytes.fill(0, at, at + STATFS_OUT_SIZE);
  writeUInt64(bytes, at, stats.blocks);
  writeUInt64(bytes, at + 24, stats.files);
  bytes.writeUInt32LE(stats.blockSize, at + 40);
  bytes.writeUInt32LE(stats.nameMax, at + 44);
  bytes.writeUInt32LE(stats.blockSize, at + 48);
}

/** `fuse_open_out` at `at`. */
export function writeOpenOut(bytes: Buffer, at: number, flags: number): void {
  bytes.fill(0, at, at + OPEN_OUT_SIZE);
  bytes.writeUInt32LE(flags, at + 8);
}

/** `fuse_getxattr_out` at `at`: how much room the value wants. */
export function writeXattrSize(bytes: Buffer, at: number, size: number): void {
  bytes.writeUInt32LE(size, at);
  bytes.writeUInt32LE(0, at + 4);
}

function writeAttr(bytes: Buffer, at: number, attributes: Attributes): void {
  const { node, size, mtimeSec, mtimeNsec, mode, nlink, uid, gid, rdev } = attributes;
  writeUInt64(bytes, at, node);
  writeUInt64(bytes, at + 8, size);
  writeUInt64(bytes, at + 16, Math.ceil(size / STAT_BLOCK));
  for (const time of [24, 32, 40]) bytes.writeBigInt64LE(BigInt(mtimeSec), at + time);
  for (const time of [48, 52, 56]) bytes.writeUInt32LE(mtimeNsec, at + time);
  bytes.writeUInt32LE(mode, at + 60);
  bytes.writeUInt32LE(nlink, at + 64);
  bytes.writeUInt32LE(uid, at + 68);
  bytes.writeUInt32LE(gid, at + 72);
  bytes.writeUInt32LE(rdev === undefined ? 0 : deviceNumber(rdev), at + 76);
  bytes.writeUInt32LE(PREFERRED_BLOCK, at + 80);
}

/** The kernel's `new_encode_dev`: 12 bits of major in the middle, 20 bits of minor around them. */
function deviceNumber({ major, minor }: { major: number; minor: number }): number {
  return ((minor & 0xff) | ((major & 0xfff) << 8) | ((minor & 0xfff00) << 12)) >>> 0;
}

function writeUInt64(bytes: Buffer, at: number, value: number): void {
  bytes.writeUInt32LE(value >>> 0, at);
  bytes.writeUInt32LE(Math.floor(value / 2 ** 32), at + 4);
}
