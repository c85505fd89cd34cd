import { RafterError } from '../errors.js';
import {
  MAX_DEVICE_MAJOR,
  MAX_DEVICE_MINOR,
  MAX_SYMLINK_SIZE,
  MAX_XATTR_NAME_SIZE,
  MAX_XATTR_VALUE_SIZE,
} from '../rafs/limits.js';
import type { Inode, Xattr } from '../rafs/tree.js';
import { xattrPrefix } from '../rafs/xattr.js';
import type { Losses } from './losses.js';
import type { TarEntryHead } from './tar-entry.js';

/** File type bits of st_mode. */
const TYPE_BITS = {
  file: 0o100000,
  dir: 0o040000,
  symlink: 0o120000,
  char: 0o020000,
  block: 0o060000,
  fifo: 0o010000,
} as const;

/** Describes the NFS server on which the layer was built; umoci leaves it out too. */
const FOREIGN_XATTRS = ['system.nfs4_acl'];

/** Shared by the inodes without xattrs: nearly all. */
const NO_XATTRS: readonly Xattr[] = [];

/** A directory that nothing describes: parents that no layer has an entry for, and the root. */
export function defaultDirectory(): Inode {
  return {
    type: 'dir',
    mode: TYPE_BITS.dir | 0o755,
    uid: 0,
    gid: 0,
    mtimeSec: 0,
    mtimeNsec: 0,
    xattrs: NO_XATTRS,
  };
}

/**
 * The inode of a tar entry other than a hard link; a file's has no chunks yet. `what` names layer and entry. MALFORMED for a
 * symlink to nothing; what the format cannot hold goes to `losses`, or is UNSUPPORTED where nothing useful would be left.
 */
export function makeInode(entry: TarEntryHead, what: string, losses: Losses): Inode {
  const { type, uid, gid, mtimeSec, mtimeNsec } = entry;
  if (type === 'hardlink') throw new Error('a hard link has no inode of its own');
  const kept = entry.xattrs.filter((xattr) => isKept(xattr, what, losses));
  const xattrs = kept.length === 0 ? NO_XATTRS : kept;
  const mode = TYPE_BITS[type] | entry.mode;
  // Written out: V8 gives every object that is spread and then extended a shape of its own, three times the memory.
  switch (type) {
    case 'file':
      return { type, mode, uid, gid, mtimeSec, mtimeNsec, xattrs, size: entry.size, chunks: [] };
    case 'symlink': {
      const target = checkTarget(entry.linkTarget, what);
      // No file system keeps other permissions of a symlink, so nobody who unpacks the layer gets them.
      const mode = TYPE_BITS.symlink | 0o777;
      return { type, mode, uid, gid, mtimeSec, mtimeNsec, xattrs, target };
    }
    case 'char':
    case 'block': {
      const rdev = checkDevice(entry.rdev, what);
      return { type, mode, uid, gid, mtimeSec, mtimeNsec, xattrs, rdev };
    }
    case 'dir':
    case 'fifo':
      return { type, mode, uid, gid, mtimeSec, mtimeNsec, xattrs };
  }
}

function isKept({ name, value }: Xattr, what: string, losses: Losses): boolean {
  const text = name.toString('latin1');
  if (FOREIGN_XATTRS.includes(text)) {
    losses.drop(`${what}: the xattr ${text} was left out`);
    return false;
  }
  if (xattrPrefix(name) === undefined) {
    losses.lose(`${what}: the image format has no place for the xattr ${JSON.stringify(text)}`);
    return false;
  }
  if (name.length > MAX_XATTR_NAME_SIZE || value.length > MAX_XATTR_VALUE_SIZE) {
    losses.lose(`${what}: the xattr ${JSON.stringify(text.slice(0, 80))} is too large for the image format`);
    return false;
  }
  return true;
}

function checkTarget(target: Buffer, what: string): Buffer {
  if (target.length === 0) throw new RafterError('MALFORMED', `${what}: a symlink to nothing`);
  if (target.length <= MAX_SYMLINK_SIZE) return target;
  throw new RafterError(
    'UNSUPPORTED',
    `${what}: the symlink's target has more than ${MAX_SYMLINK_SIZE} bytes`,
  );
}

function checkDevice(rdev: { major: number; minor: number }, what: string): { major: number; minor: number } {
  const { major, minor } = rdev;
  if (major >= 0 && major <= MAX_DEVICE_MAJOR && minor >= 0 && minor <= MAX_DEVICE_MINOR) return rdev;
  throw new RafterError(
    'UNSUPPORTED',
    `${what}: device ${major}:${minor} is beyond ${MAX_DEVICE_MAJOR}:${MAX_DEVICE_MINOR}`,
  );
}
