import { malformed } from './binary.js';
import { alignUp, MAX_XATTR_NAME_SIZE } from './limits.js';
import type { Xattr } from './tree.js';

/** Inline xattrs of EROFS: a 12-byte head, then entries padded to 4 bytes. */
const HEAD_SIZE = 12;
const SHARED_COUNT = 4;
const ENTRY_HEAD_SIZE = 4;
const ENTRY_ALIGNMENT = 4;

const ENTRY_NAME_SIZE = 0;
const ENTRY_PREFIX = 1;
const ENTRY_VALUE_SIZE = 2;

/** Prefix numbers; the names of 2 and 3 are complete, so nothing may follow them. */
const PREFIXES: readonly { index: number; prefix: string; whole: boolean }[] = [
  { index: 1, prefix: 'user.', whole: false },
  { index: 2, prefix: 'system.posix_acl_access', whole: true },
  { index: 3, prefix: 'system.posix_acl_default', whole: true },
  { index: 4, prefix: 'trusted.', whole: false },
  { index: 6, prefix: 'security.', whole: false },
];

/** Largest i_xattr_icount. */
export const MAX_XATTR_COUNT = 0xffff;

/** The number of the prefix of `name` and the prefix's bytes, or undefined for a namespace that RAFS cannot hold. */
export function xattrPrefix(name: Buffer): { index: number; size: number } | undefined {
  for (const { index, prefix, whole } of PREFIXES) {
    const starts = name.length >= prefix.length && name.toString('latin1', 0, prefix.length) === prefix;
    if (starts && whole === (name.length === prefix.length)) return { index, size: prefix.length };
  }
  return undefined;
}

/** Bytes that `xattrs` take behind an inode: 0 if there are none. */
export function xattrAreaSize(xattrs: readonly Xattr[]): number {
  if (xattrs.length === 0) return 0;
  return xattrs.reduce((size, xattr) => {
    const suffix = xattr.name.length - (xattrPrefix(xattr.name)?.size ?? 0);
    return size + alignUp(ENTRY_HEAD_SIZE + suffix + xattr.value.length, ENTRY_ALIGNMENT);
  }, HEAD_SIZE);
}

/** i_xattr_icount for an area of `size` bytes, and the reverse. */
export function xattrCountOf(size: number): number {
  return size === 0 ? 0 : (size - HEAD_SIZE) / ENTRY_ALIGNMENT + 1;
}
export function xattrAreaSizeOf(count: number): number {
  return count === 0 ? 0 : HEAD_SIZE + ENTRY_ALIGNMENT * (count - 1);
}

/** Writes the area at `offset` of `target`, in the order given. Every name must have a known prefix. */
export function encodeXattrs(xattrs: readonly Xattr[], target: Buffer, offset: number): void {
  let at = offset + HEAD_SIZE;
  for (const { name, value } of xattrs) {
    const prefix = xattrPrefix(name);
    if (!prefix) throw new Error(`xattr ${name} has no prefix number`);
    const suffixSize = name.length - prefix.size;
    target.writeUInt8(suffixSize, at + ENTRY_NAME_SIZE);
    target.writeUInt8(prefix.index, at + ENTRY_PREFIX);
    target.writeUInt16LE(value.length, at + ENTRY_VALUE_SIZE);
    name.copy(target, at + ENTRY_HEAD_SIZE, prefix.size);
    value.copy(target, at + ENTRY_HEAD_SIZE + suffixSize);
    at += alignUp(ENTRY_HEAD_SIZE + suffixSize + value.length, ENTRY_ALIGNMENT);
  }
}

/**
 * Reads the area of `size` bytes at `offset`, which must be inside `bytes`. Names and values are copies.
 * Throws MALFORMED for shared xattrs, unknown prefixes and entries that leave the area.
 */
export function decodeXattrs(bytes: Buffer, offset: number, size: number, source: string): Xattr[] {
  if (size === 0) return [];
  const shared = bytes.readUInt8(offset + SHARED_COUNT);
  if (shared !== 0)
    throw malformed(source, 'xattr shared count', offset + SHARED_COUNT, `${shared}, must be 0`);
  const end = offset + size;
  const xattrs: Xattr[] = [];
  for (let at = offset + HEAD_SIZE; at < end; ) {
    const index = bytes.readUInt8(at + ENTRY_PREFIX);
    const nameSize = bytes.readUInt8(at + ENTRY_NAME_SIZE);
    const valueSize = bytes.readUInt16LE(at + ENTRY_VALUE_SIZE);
    const known = PREFIXES.find((prefix) => prefix.index === index);
    if (!known || known.whole !== (nameSize === 0)) {
      throw malformed(source, 'xattr name', at, `prefix ${index} with ${nameSize} more bytes`);
    }
    const valueAt = at + ENTRY_HEAD_SIZE + nameSize;
    if (valueAt + valueSize > end) throw malformed(source, 'xattr entry', at, 'ends outside its inode');
    const name = Buffer.concat([Buffer.from(known.prefix), bytes.subarray(at + ENTRY_HEAD_SIZE, valueAt)]);
    if (name.length > MAX_XATTR_NAME_SIZE || name.includes(0)) {
      throw malformed(source, 'xattr name', at, 'is longer than 255 bytes or holds NUL');
    }
    xattrs.push({ name, value: Buffer.copyBytesFrom(bytes, valueAt, valueSize) });
    at += alignUp(ENTRY_HEAD_SIZE + nameSize + valueSize, ENTRY_ALIGNMENT);
  }
  return xattrs;
}
