import type { RafterError } from '../../errors.js';
import { readU64 } from '../binary.js';
import { alignUp, MAX_NAME_SIZE, MAX_SYMLINK_SIZE } from '../limits.js';
import type { InodeType } from '../tree.js';
import { V5_ALIGNMENT } from './superblock.js';

/** Bytes of an inode without name, target, xattrs and chunks, which follow it in this order (RAFS v5 format). */
export const INODE_SIZE = 128;
/** Bytes of the size in front of the xattrs. */
const XATTR_HEAD_SIZE = 8;

const NAME_SIZE = 100;
const SYMLINK_SIZE = 102;

const SLASH = 0x2f;
const DOT = 0x2e;

/** Flag bits of an inode. Bit 1, HARDLINK, says nothing that number and links do not say. */
export const InodeFlag = { SYMLINK: 0x1, XATTR: 0x4, HAS_HOLE: 0x8 } as const;

/** The parts of variable size of an inode. Offsets are bytes in the bootstrap, sizes are without padding. */
export interface InodeParts {
  targetOffset: number;
  targetSize: number;
  xattrOffset: number;
  xattrSize: number;
  /** Where the chunks of a file begin. */
  end: number;
}

/**
 * Finds the parts of the inode at `offset` and checks that they are inside the file. `wrong` makes the error for a field and
 * its offset in the inode.
 */
export function placeParts(
  bytes: Buffer,
  { offset, flags, type, isRoot }: { offset: number; flags: number; type: InodeType; isRoot: boolean },
  wrong: (field: string, at: number, problem: string) => RafterError,
): InodeParts {
  const inside = (end: number, field: string, at: number): number => {
    if (end > bytes.length) throw wrong(field, at, `ends at ${end} in a file of ${bytes.length} bytes`);
    return end;
  };
  const padded = (size: number) => alignUp(size, V5_ALIGNMENT);
  const nameSize = bytes.readUInt16LE(offset + NAME_SIZE);
  const nameOffset = offset + INODE_SIZE;
  if (nameSize === 0 || nameSize > MAX_NAME_SIZE) throw wrong('i_name_size', NAME_SIZE, `${nameSize}`);
  const targetOffset = inside(nameOffset + padded(nameSize), 'i_name_size', NAME_SIZE);
  if (!isRoot && !isFileName(bytes, nameOffset, nameSize))
    throw wrong('name', INODE_SIZE, 'cannot be a file name');

  const isSymlink = (flags & InodeFlag.SYMLINK) !== 0;
  if (isSymlink !== (type === 'symlink')) throw wrong('i_flags', 80, `SYMLINK does not fit a ${type}`);
  const targetSize = isSymlink ? bytes.readUInt16LE(offset + SYMLINK_SIZE) : 0;
  if (isSymlink && (targetSize === 0 || targetSize > MAX_SYMLINK_SIZE))
    throw wrong('i_symlink_size', SYMLINK_SIZE, `${targetSize}; 1 to ${MAX_SYMLINK_SIZE}`);
  const behindTarget = inside(targetOffset + padded(targetSize), 'i_symlink_size', SYMLINK_SIZE);
  if ((flags & InodeFlag.XATTR) === 0) {
    const none = { xattrOffset: behindTarget, xattrSize: 0 };
    return { targetOffset, targetSize, ...none, end: behindTarget };
  }
  const xattrOffset = behindTarget + XATTR_HEAD_SIZE;
  const at = behindTarget - offset;
  inside(xattrOffset, 'xattr size', at);
  const xattrSize = readU64(bytes, behindTarget);
  const end = inside(xattrOffset + padded(xattrSize), 'xattr size', at);
  return { targetOffset, targetSize, xattrOffset, xattrSize, end };
}

/**
 * Where the chunks of the file at `offset` begin, without the checks of `placeParts`: beyond the end of `bytes` if the parts before
 * are.
 */
export function chunksAt(bytes: Buffer, offset: number, flags: number): number {
  const name = offset + INODE_SIZE;
  const at = name + alignUp(bytes.readUInt16LE(offset + NAME_SIZE), V5_ALIGNMENT);
  if ((flags & InodeFlag.XATTR) === 0) return at;
  if (at + XATTR_HEAD_SIZE > bytes.length) return Number.POSITIVE_INFINITY;
  return at + XATTR_HEAD_SIZE + alignUp(readU64(bytes, at), V5_ALIGNMENT);
}

/** The name of the inode at `offset`, a view; "/" for the root. */
export function nameAt(bytes: Buffer, offset: number): Buffer {
  const start = offset + INODE_SIZE;
  return bytes.subarray(start, start + bytes.readUInt16LE(offset + NAME_SIZE));
}

/** True for 1 to 255 bytes without "/" and NUL that are not "." or "..". */
function isFileName(bytes: Buffer, offset: number, size: number): boolean {
  let dots = 0;
  for (let i = offset; i < offset + size; i++) {
    const byte = bytes[i]!;
    if (byte === 0 || byte === SLASH) return false;
    if (byte === DOT) dots++;
  }
  return size > 2 || dots < size;
}
