import { copyToMemory, cStringAt, functionCaller } from '../os/memory.js';
import type { Attributes, DirectoryEntry, FileSystemStats } from './file-system.js';
import type { RequestHandle } from './native-binding.js';

/**
 * A request of fuse-native as libfuse made it.
 *
 * The package's own JavaScript decodes paths as UTF-8, so different names become one; cuts times to milliseconds and
 * turns those before 1970 into the year 584556019; cuts inode numbers to 32 bits; and hides the type of directory
 * entries. None of that is in the way here: the handle that the addon passes with each request IS its C structure
 * (`fuse_thread_locals_t` in fuse-native.c), with libfuse's pointers in it. They are valid until the request is
 * signalled, because the thread that owns them waits for that. The structure below is that of fuse-native 2.2.6 on
 * 64-bit Linux; `isExpectedLayout` is asked once per mount, before any pointer is used.
 */
const REQUEST_SIZE = 360;
const OFFSET = {
  operation: 8,
  path: 24,
  linkBuffer: 40,
  directoryBuffer: 56,
  xattrName: 128,
  linkBufferSize: 72,
  stat: 168,
  statvfs: 176,
  fillDirectory: 184,
} as const;

/** `struct stat` of x86-64 Linux. */
const STAT_SIZE = 144;
/** `struct statvfs` of x86-64 Linux without its spare fields: eleven 64-bit numbers. */
const STATVFS_SIZE = 88;
/** Bytes of one block in st_blocks. */
const STAT_BLOCK = 512;
/** What st_blksize recommends: one FUSE request of the largest size. */
const PREFERRED_IO_SIZE = 128 * 1024;

/** True if `request`, which came for operation number `operation`, looks as this file thinks it does. */
export function isExpectedLayout(request: RequestHandle, operation: number): boolean {
  return request.length === REQUEST_SIZE && request.readUInt32LE(OFFSET.operation) === operation;
}

/** Absolute path that the request is about. */
export function requestPath(request: RequestHandle): Buffer {
  return cStringAt(request.readBigUInt64LE(OFFSET.path));
}

/** Name of the extended attribute that a getxattr asks for. */
export function requestXattrName(request: RequestHandle): Buffer {
  return cStringAt(request.readBigUInt64LE(OFFSET.xattrName));
}

/** Answers a getattr's data. */
export function writeAttributes(request: RequestHandle, attributes: Attributes): void {
  copyToMemory(request.readBigUInt64LE(OFFSET.stat), encodeStat(attributes));
}

/** Answers a readlink's data: `target` and a NUL, cut to what the caller has room for as readlink(2) does. */
export function writeLinkTarget(request: RequestHandle, target: Buffer): void {
  const room = Number(request.readBigUInt64LE(OFFSET.linkBufferSize)) - 1;
  const text = Buffer.concat([target.subarray(0, room), Buffer.of(0)]);
  copyToMemory(request.readBigUInt64LE(OFFSET.linkBuffer), text);
}

/** Answers a statfs's data. */
export function writeStats(request: RequestHandle, stats: FileSystemStats): void {
  const { blockSize, blocks, files, nameMax } = stats;
  const statvfs = Buffer.alloc(STATVFS_SIZE);
  const fields = [blockSize, blockSize, blocks, 0, 0, files, 0, 0, 0, 0, nameMax];
  for (const [index, value] of fields.entries()) statvfs.writeBigUInt64LE(BigInt(value), index * 8);
  copyToMemory(request.readBigUInt64LE(OFFSET.statvfs), statvfs);
}

let callFillDirectory: ReturnType<typeof functionCaller> | undefined;

/** Answers a readdir's data by calling libfuse's `fuse_fill_dir_t` for each entry. */
export function writeEntries(request: RequestHandle, entries: Iterable<DirectoryEntry>): void {
  callFillDirectory ??= functionCaller('int fuse_fill_dir(void *, void *, void *, int64_t)');
  const fill = request.readBigUInt64LE(OFFSET.fillDirectory);
  const buffer = request.readBigUInt64LE(OFFSET.directoryBuffer);
  const stat = Buffer.alloc(STAT_SIZE);
  for (const { name, node, mode } of entries) {
    stat.writeBigUInt64LE(BigInt(node), 8);
    stat.writeUInt32LE(mode, 24);
    const full = callFillDirectory(fill, buffer, Buffer.concat([name, Buffer.of(0)]), stat, 0);
    if (full !== 0) throw new Error('libfuse has no memory for a directory listing');
  }
}

function encodeStat(attributes: Attributes): Buffer {
  const { node, mode, nlink, uid, gid, rdev, size, mtimeSec, mtimeNsec } = attributes;
  const stat = Buffer.alloc(STAT_SIZE);
  stat.writeBigUInt64LE(BigInt(node), 8);
  stat.writeBigUInt64LE(BigInt(nlink), 16);
  stat.writeUInt32LE(mode, 24);
  stat.writeUInt32LE(uid, 28);
  stat.writeUInt32LE(gid, 32);
  if (rdev !== undefined) stat.writeUInt32LE(encodeDevice(rdev), 40);
  stat.writeBigUInt64LE(BigInt(size), 48);
  stat.writeBigUInt64LE(BigInt(PREFERRED_IO_SIZE), 56);
  stat.writeBigUInt64LE(BigInt(Math.ceil(size / STAT_BLOCK)), 64);
  for (const offset of [72, 88, 104]) {
    stat.writeBigInt64LE(BigInt(mtimeSec), offset);
    stat.writeBigInt64LE(BigInt(mtimeNsec), offset + 8);
  }
  return stat;
}

/** dev_t as Linux encodes it in 32 bits: 12 bits of major and 20 of minor. */
function encodeDevice({ major, minor }: { major: number; minor: number }): number {
  return (((major & 0xfff) << 8) | (minor & 0xff) | ((minor & 0xfff00) << 12)) >>> 0;
}
