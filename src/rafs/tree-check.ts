import { RafterError } from '../errors.js';
import { typeOfMode } from './inode-type.js';
import {
  MAX_DEVICE_MAJOR,
  MAX_DEVICE_MINOR,
  MAX_NAME_SIZE,
  MAX_SYMLINK_SIZE,
  MAX_XATTR_NAME_SIZE,
  MAX_XATTR_VALUE_SIZE,
} from './limits.js';
import type { Inode, Xattr } from './tree.js';
import { MAX_XATTR_COUNT, xattrAreaSize, xattrCountOf, xattrPrefix } from './xattr.js';

const MAX_U32 = 0xffffffff;
const MAX_NSEC = 999_999_999;

/**
 * Checks a name of a directory, its bytes as latin1 text. `path` (text, for messages) is called only when something is
 * wrong.
 */
export function checkName(name: string, path: () => string): void {
  if (name.length > MAX_NAME_SIZE) throw limit(path(), 'name', `${name.length} bytes`, MAX_NAME_SIZE);
  if (name === '' || name === '.' || name === '..' || name.includes('\0') || name.includes('/')) {
    throw new RafterError('UNSUPPORTED', `${path()}: a file cannot have this name`);
  }
}

/**
 * Checks that RAFS v6 can hold `inode`. Throws LIMIT_EXCEEDED or UNSUPPORTED naming the path, a plain Error where the
 * program contradicts itself.
 */
export function checkInode(inode: Inode, chunkSize: number, path: () => string): void {
  if (typeOfMode(inode.mode) !== inode.type)
    throw new Error(`${path()}: mode ${inode.mode} is not a ${inode.type}'s`);
  if (!isWithin(inode.uid, MAX_U32)) throw limit(path(), 'uid', `${inode.uid}`, MAX_U32);
  if (!isWithin(inode.gid, MAX_U32)) throw limit(path(), 'gid', `${inode.gid}`, MAX_U32);
  if (!Number.isSafeInteger(inode.mtimeSec))
    throw limit(path(), 'mtime', `${inode.mtimeSec}`, Number.MAX_SAFE_INTEGER);
  if (!isWithin(inode.mtimeNsec, MAX_NSEC))
    throw limit(path(), 'mtime nanoseconds', `${inode.mtimeNsec}`, MAX_NSEC);
  if (inode.xattrs.length > 0) checkXattrs(inode.xattrs, path);
  switch (inode.type) {
    case 'file':
      if (!Number.isSafeInteger(inode.size) || inode.chunks.length !== Math.ceil(inode.size / chunkSize)) {
        throw new Error(`${path()}: ${inode.chunks.length} chunks of ${chunkSize} for ${inode.size} bytes`);
      }
      return;
    case 'symlink':
      if (inode.target.length > MAX_SYMLINK_SIZE) {
        throw limit(path(), 'symlink target', `${inode.target.length} bytes`, MAX_SYMLINK_SIZE);
      }
      if (inode.target.length === 0 || inode.target.includes(0)) {
        throw new RafterError('UNSUPPORTED', `${path()}: a symlink target cannot be empty or hold NUL`);
      }
      return;
    case 'char':
    case 'block':
      if (!isWithin(inode.rdev.major, MAX_DEVICE_MAJOR)) {
        throw limit(path(), 'device major number', `${inode.rdev.major}`, MAX_DEVICE_MAJOR);
      }
      if (!isWithin(inode.rdev.minor, MAX_DEVICE_MINOR)) {
        throw limit(path(), 'device minor number', `${inode.rdev.minor}`, MAX_DEVICE_MINOR);
      }
  }
}

function checkXattrs(xattrs: readonly Xattr[], path: () => string): void {
  const names = new Set<string>();
  for (const { name, value } of xattrs) {
    const text = name.toString('latin1');
    if (name.length > MAX_XATTR_NAME_SIZE)
      throw limit(path(), 'xattr name', `${name.length} bytes`, MAX_XATTR_NAME_SIZE);
    if (name.includes(0) || !xattrPrefix(name)) {
      throw new RafterError('UNSUPPORTED', `${path()}: RAFS v6 has no place for the xattr "${text}"`);
    }
    if (value.length > MAX_XATTR_VALUE_SIZE) {
      throw limit(path(), `value of xattr "${text}"`, `${value.length} bytes`, MAX_XATTR_VALUE_SIZE);
    }
    if (names.has(text)) throw new Error(`${path()}: xattr "${text}" is there twice`);
    names.add(text);
  }
  const count = xattrCountOf(xattrAreaSize(xattrs));
  if (count > MAX_XATTR_COUNT)
    throw limit(path(), 'xattrs together', `${count * 4} bytes`, MAX_XATTR_COUNT * 4);
}

function isWithin(value: number, most: number): boolean {
  return Number.isInteger(value) && value >= 0 && value <= most;
}

function limit(path: string, what: string, value: string, most: number): RafterError {
  return new RafterError('LIMIT_EXCEEDED', `${path}: ${what} of ${value}; RAFS v6 allows at most ${most}`);
}
